#!/usr/bin/perl
# SCTP with nothing but Perl's own IO::Socket and Socket: lines over streams, a child that serves, one-to-many.
use strict;
use warnings;
use IO::Socket::INET;
use Socket;

$| = 1;
my $sctp = 132;

# The child's descriptors are copies of ours: it serves lines until the peer goes.
my $listener = IO::Socket::INET->new(Proto => 'sctp', Type => SOCK_STREAM, LocalAddr => '127.0.0.1', Listen => 5)
    or die "listen: $@ $!";
my $child = fork();
if ($child == 0) {
    my $peer = $listener->accept or die "accept: $!";
    while (my $line = <$peer>) {
        print $peer "echo $line";
        $peer->flush;
    }
    exit 3;
}
my $peer = IO::Socket::INET->new(
    Proto    => 'sctp',
    Type     => SOCK_STREAM,
    PeerAddr => '127.0.0.1',
    PeerPort => $listener->sockport
) or die "connect: $@ $!";
for my $word ('one', 'two') {
    print $peer "$word\n";
    $peer->flush;
    my $answer = <$peer>;
    die "an answer is $answer" unless $answer eq "echo $word\n";
}

# We end it, and so there is nothing more to wait for: whoever reads is told at once.
shutdown $peer, 1;
die 'something came' if defined <$peer>;
waitpid $child, 0;
die "the child ends with $?" unless $? == 3 << 8;

socket my $many, PF_INET, SOCK_SEQPACKET, $sctp or die "socket: $!";
bind $many, sockaddr_in(0, INADDR_LOOPBACK) or die "bind: $!";
listen $many, 1 or die "listen: $!";
socket my $other, PF_INET, SOCK_SEQPACKET, $sctp or die "socket: $!";
defined send $other, 'question', 0, getsockname $many or die "send: $!";
my $from = recv $many, my $got, 100, 0;
die "came: $got" unless $got eq 'question';
defined send $many, 'answer', 0, $from or die "send: $!";
recv $other, $got, 100, 0;
die "came: $got" unless $got eq 'answer';

my $nobody = IO::Socket::INET->new(Proto => 'sctp', Type => SOCK_STREAM, PeerAddr => '127.0.0.1', PeerPort => 1);
die 'connected to nobody' if $nobody;
print "done\n";
