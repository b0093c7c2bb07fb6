#!/bin/sh
# The first and only program of the User-Mode Linux guest that lends us the kernel's SCTP. Its root file system is
# the host's, so nothing is written outside the tmpfs mounted here. It reads commands from the console, which is the
# test's pipe: "run ARGUMENTS" starts the peer, "exec TAG PROGRAM ARGUMENTS" another program,
# "set SYSCTL VALUE" sets, "halt" ends. Lines for the test begin with "@".
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
exec 2>&1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
stty raw -echo

# Arguments of the form name=value on the kernel's command line arrive as our environment: peer, addresses0, addresses1.
modules=/usr/lib/uml/modules/$(uname -r)
for name in crc-ccitt ipv6 udp_tunnel ip6_udp_tunnel sctp hmac; do
	file=$(find "$modules" -name "$name.ko" | head -n 1)
	if [ -z "$file" ]; then
		echo "@guest event=error what=no-module-$name"
	else
		insmod "$file" || echo "@guest event=error what=insmod-$name"
	fi
done

ip link set lo up
for k in 0 1; do
	# One packet at a time: this kernel drops what it segments in software under a UDP header.
	ip link set "vec$k" gso_max_size 1500 up
	eval "list=\$addresses$k"
	for address in $(echo "$list" | tr , ' '); do
		case $address in
		*:*) ip address add "$address" dev "vec$k" nodad ;;
		*) ip address add "$address" dev "vec$k" ;;
		esac
	done
done

# The UDP port is open in every test; whether an association uses it is each peer's option.
set_sysctl() { echo "$2" >"/proc/sys/$(echo "$1" | tr . /)" || echo "@guest event=error what=sysctl-$1"; }
set_sysctl net.sctp.udp_port 9899
set_sysctl net.core.rmem_max 16777216
set_sysctl net.core.wmem_max 16777216

echo "@guest event=ready kernel=$(uname -r)"
while read -r command arguments; do
	case $command in
	run) # shellcheck disable=SC2086
		"$peer" $arguments </dev/null & ;;
	exec)
		tag=${arguments%% *}
		# shellcheck disable=SC2086
		(${arguments#* } </dev/null; echo "@$tag event=exit code=$?") & ;;
	set) # shellcheck disable=SC2086
		set_sysctl $arguments ;;
	halt) break ;;
	esac
done
halt -f
