/*
 * A peer for the interop tests, over the RFC 6458 socket API of the Linux kernel or, with PEER_USRSCTP, of usrsctp.
 *
 * It connects or listens for one association, sends one workload while it verifies another, and ends or waits for
 * the end. When a peer has verified all it expected, it sends a last message, DONE, with the checksum of what it
 * received; the peer that ends the association does so after the other's DONE, and the other says DONE only after
 * hearing it: so nothing is in flight when an ABORT is sent.
 *
 * What happens is told on standard output, one line of key=value words each, after "@TAG ".
 */
#include "backend.h"
#include "workload.h"

#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

/* Message i has PPID_BASE + i: nobody registered these, so tshark does not look for a protocol in the data. */
#define PPID_BASE UINT32_C(0x45530000)
#define DONE_PPID (PPID_BASE | 0xffff)
#define MAX_ADDRESSES 8
#define MAX_STREAMS 64
#define PROGRESS_EVERY 50

struct addresses {
	uint8_t packed[MAX_ADDRESSES * sizeof(struct sockaddr_in6)];
	int count;
	int has_v6;
};

static struct {
	const char *tag, *end;
	struct addresses local, remote;
	uint16_t port, remote_port, udp, streams;
	int listen, fast, after_restart;
	uint32_t buffer, pace_us, time_limit;
	struct workload send, expect;
} options = { .tag = "peer", .end = "wait", .streams = 10, .buffer = 1 << 20, .time_limit = 60 };

static sock_t association = NO_SOCKET;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int all_received, peer_done, restarted; /* under lock */
static uint64_t received_sum;
static int peer_shutdown;

/* One write a line, so that lines of several threads and processes do not mingle. */
static void say(const char *format, ...)
{
	char line[1024];
	int n = snprintf(line, sizeof(line), "@%s ", options.tag);
	va_list args;

	va_start(args, format);
	n += vsnprintf(line + n, sizeof(line) - (size_t)n - 1, format, args);
	va_end(args);
	if (n > (int)sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n++] = '\n';
	if (write(STDOUT_FILENO, line, (size_t)n) < 0)
		_exit(4);
}

static void quit(int code)
{
	say("event=exit code=%d", code);
	_exit(code);
}

static void fail(const char *what)
{
	say("event=error what=%s errno=%s", what, strerror(errno));
	quit(1);
}

static void on_alarm(int signal)
{
	(void)signal;
	say("event=timeout seconds=%u", options.time_limit);
	_exit(3);
}

/* ---- addresses ------------------------------------------------------------------------------------------ */

static void set_port(struct addresses *list, uint16_t port)
{
	uint8_t *at = list->packed;

	for (int i = 0; i < list->count; i++) {
		struct sockaddr *sa = (struct sockaddr *)at;

		if (sa->sa_family == AF_INET6) {
			((struct sockaddr_in6 *)at)->sin6_port = htons(port);
			at += sizeof(struct sockaddr_in6);
		} else {
			((struct sockaddr_in *)at)->sin_port = htons(port);
			at += sizeof(struct sockaddr_in);
		}
	}
}

static int parse_addresses(struct addresses *list, char *text)
{
	uint8_t *at = list->packed;

	for (char *word = strtok(text, ","); word && list->count < MAX_ADDRESSES; word = strtok(NULL, ",")) {
		struct sockaddr_in v4 = { .sin_family = AF_INET };
		struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };

		if (inet_pton(AF_INET, word, &v4.sin_addr) == 1) {
			memcpy(at, &v4, sizeof(v4));
			at += sizeof(v4);
		} else if (inet_pton(AF_INET6, word, &v6.sin6_addr) == 1) {
			memcpy(at, &v6, sizeof(v6));
			at += sizeof(v6);
			list->has_v6 = 1;
		} else {
			return -1;
		}
		list->count++;
	}
	return 0;
}

/* From a void pointer, for the sockaddr_storage may lie unaligned in the kernel's packed structures. */
static const char *address_text(const void *packed, char out[INET6_ADDRSTRLEN])
{
	struct sockaddr_storage address;

	memcpy(&address, packed, sizeof(address));
	if (address.ss_family == AF_INET)
		return inet_ntop(AF_INET, &((struct sockaddr_in *)&address)->sin_addr, out, INET6_ADDRSTRLEN);
	return inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&address)->sin6_addr, out, INET6_ADDRSTRLEN);
}

/* ---- socket options ------------------------------------------------------------------------------------- */

static void must_set(sock_t s, int level, int name, const void *value, socklen_t length, const char *what)
{
	if (x_setopt(s, level, name, value, length) < 0)
		fail(what);
}

static void subscribe(sock_t s)
{
	static const uint16_t types[] = { SCTP_ASSOC_CHANGE, SCTP_PEER_ADDR_CHANGE, SCTP_SHUTDOWN_EVENT };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		struct sctp_event event;

		memset(&event, 0, sizeof(event));
		event.se_assoc_id = SCTP_FUTURE_ASSOC;
		event.se_type = types[i];
		event.se_on = 1;
		must_set(s, IPPROTO_SCTP, SCTP_EVENT, &event, sizeof(event), "SCTP_EVENT");
	}
}

/* Timers for failover within a second or two. */
static void fast_timers(sock_t s)
{
	struct sctp_rtoinfo rto;
	struct sctp_assocparams assoc;
	struct sctp_paddrparams path;
	struct sctp_sack_info sack;

	memset(&rto, 0, sizeof(rto));
	rto.srto_initial = 200;
	rto.srto_min = 100;
	rto.srto_max = 400;
	must_set(s, IPPROTO_SCTP, SCTP_RTOINFO, &rto, sizeof(rto), "SCTP_RTOINFO");
	memset(&assoc, 0, sizeof(assoc));
	assoc.sasoc_asocmaxrxt = 10;
	must_set(s, IPPROTO_SCTP, SCTP_ASSOCINFO, &assoc, sizeof(assoc), "SCTP_ASSOCINFO");
	memset(&path, 0, sizeof(path));
	path.spp_address.ss_family = AF_INET;
	path.spp_hbinterval = 300;
	path.spp_pathmaxrxt = 2;
	path.spp_flags = SPP_HB_ENABLE;
	must_set(s, IPPROTO_SCTP, SCTP_PEER_ADDR_PARAMS, &path, sizeof(path), "SCTP_PEER_ADDR_PARAMS");
	/* Well below both ends' RTO.Min, or every lone packet would be sent twice. */
	memset(&sack, 0, sizeof(sack));
	sack.sack_delay = 20;
	sack.sack_freq = 2;
	must_set(s, IPPROTO_SCTP, SCTP_DELAYED_SACK, &sack, sizeof(sack), "SCTP_DELAYED_SACK");
}

static void configure(sock_t s, int family)
{
	struct sctp_initmsg init;
	int on = 1, off = 0;

	memset(&init, 0, sizeof(init));
	init.sinit_num_ostreams = options.streams;
	init.sinit_max_instreams = MAX_STREAMS;
	must_set(s, IPPROTO_SCTP, SCTP_INITMSG, &init, sizeof(init), "SCTP_INITMSG");
	must_set(s, IPPROTO_SCTP, SCTP_NODELAY, &on, sizeof(on), "SCTP_NODELAY");
	must_set(s, IPPROTO_SCTP, SCTP_RECVRCVINFO, &on, sizeof(on), "SCTP_RECVRCVINFO");
	/* A message that is delivered in parts is not interrupted by others. */
	must_set(s, IPPROTO_SCTP, SCTP_FRAGMENT_INTERLEAVE, &off, sizeof(off), "SCTP_FRAGMENT_INTERLEAVE");
	if (family == AF_INET6 && x_dual_stack(s) < 0)
		fail("IPV6_V6ONLY");
	if (x_buffers(s, (int)options.buffer) < 0)
		fail("buffers");
	if (options.udp) {
		struct sctp_udpencaps encaps;

		memset(&encaps, 0, sizeof(encaps));
		encaps.sue_address.ss_family = (sa_family_t)family;
		encaps.sue_port = htons(options.udp);
		must_set(s, IPPROTO_SCTP, SCTP_REMOTE_UDP_ENCAPS_PORT, &encaps, sizeof(encaps), "UDP_ENCAPS_PORT");
	}
	if (options.fast)
		fast_timers(s);
	subscribe(s);
}

static void open_association(void)
{
	int family = options.local.has_v6 || options.remote.has_v6 ? AF_INET6 : AF_INET;
	sock_t s = x_socket(family);

	if (s == NO_SOCKET)
		fail("socket");
	configure(s, family);
	set_port(&options.local, options.port);
	if (x_bindx(s, (struct sockaddr *)options.local.packed, options.local.count) < 0)
		fail("bindx");
	if (options.listen) {
		if (x_listen(s) < 0)
			fail("listen");
		say("event=listening port=%u", options.port);
		association = x_accept(s);
		if (association == NO_SOCKET)
			fail("accept");
		/* The listener goes, so that a later run finds the port free and nobody answers for it meanwhile. */
		x_close(s);
	} else {
		set_port(&options.remote, options.remote_port);
		if (x_connectx(s, (struct sockaddr *)options.remote.packed, options.remote.count) < 0)
			fail("connectx");
		association = s;
	}
}

/* ---- sending -------------------------------------------------------------------------------------------- */

static int send_one(const void *data, size_t length, uint16_t stream, uint32_t ppid, uint16_t flags)
{
	struct sctp_sndinfo info;

	memset(&info, 0, sizeof(info));
	info.snd_sid = stream;
	info.snd_ppid = htonl(ppid);
	info.snd_flags = flags;
	return x_sendv(association, data, length, &info) < 0 ? -1 : 0;
}

static void *sender(void *unused)
{
	struct workload *w = &options.send;
	uint8_t *buffer = malloc(w->largest ? w->largest : 1);
	uint8_t done[8];
	uint64_t sum = 0;

	(void)unused;
	pthread_mutex_lock(&lock);
	while (options.after_restart && !restarted)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
	for (uint32_t i = 0; i < w->count; i++) {
		size_t length = workload_fill(w, i, buffer);
		uint16_t flags = workload_unordered(w, i) ? SCTP_UNORDERED : 0;

		sum += workload_sum(i, buffer, length);
		if (send_one(buffer, length, workload_stream(i, options.streams), PPID_BASE + i, flags) < 0)
			fail("send");
		if (options.pace_us)
			usleep(options.pace_us);
	}
	say("event=sent messages=%u bytes=%" PRIu64 " sum=%016" PRIx64, w->count, w->total, sum);
	free(buffer);

	pthread_mutex_lock(&lock);
	while (!all_received || (strcmp(options.end, "wait") == 0 && !peer_done))
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
	for (int k = 0; k < 8; k++)
		done[k] = (uint8_t)(received_sum >> (56 - 8 * k));
	if (send_one(done, sizeof(done), 0, DONE_PPID, 0) < 0)
		fail("send DONE");

	pthread_mutex_lock(&lock);
	while (!peer_done)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
	if (strcmp(options.end, "shutdown") == 0) {
		if (x_shutdown(association) < 0)
			fail("shutdown");
	} else if (strcmp(options.end, "abort") == 0) {
		if (x_abort(association, "the peer has had enough") < 0)
			fail("abort");
		say("event=closed how=local-abort");
		backend_finish();
		quit(0);
	}
	return NULL;
}

/* ---- receiving ------------------------------------------------------------------------------------------ */

static struct {
	uint8_t *message, *expected, *seen;
	size_t have, room;
	uint32_t next[MAX_STREAMS]; /* the next ordered message of each stream */
	uint32_t count;
	uint64_t bytes;
} rx;

static void skip_unordered(uint16_t stream)
{
	while (rx.next[stream] < options.expect.count && workload_unordered(&options.expect, rx.next[stream]))
		rx.next[stream] += options.streams;
}

static void wrong(const char *what, uint32_t index)
{
	say("event=error what=%s message=%u", what, index);
	quit(2);
}

static void verify(uint16_t stream, uint32_t index, int unordered)
{
	struct workload *w = &options.expect;

	if (index >= w->count)
		wrong("unknown-message", index);
	if (rx.seen[index])
		wrong("message-came-twice", index);
	rx.seen[index] = 1;
	if (stream != workload_stream(index, options.streams))
		wrong("wrong-stream", index);
	if (!!unordered != workload_unordered(w, index))
		wrong("wrong-order-flag", index);
	if (!unordered) {
		if (index != rx.next[stream])
			wrong("out-of-order", index);
		rx.next[stream] += options.streams;
		skip_unordered(stream);
	}
	if (rx.have != w->lengths[index])
		wrong("wrong-length", index);
	workload_fill(w, index, rx.expected);
	if (memcmp(rx.expected, rx.message, rx.have) != 0)
		wrong("wrong-content", index);
	received_sum += workload_sum(index, rx.message, rx.have);
	rx.bytes += rx.have;
	rx.count++;
	if (rx.count % PROGRESS_EVERY == 0)
		say("event=progress received=%u", rx.count);
	if (rx.count == w->count)
		say("event=received messages=%u bytes=%" PRIu64 " sum=%016" PRIx64, rx.count, rx.bytes, received_sum);
}

static void on_message(const struct sctp_rcvinfo *info)
{
	uint32_t ppid = ntohl(info->rcv_ppid);

	if (ppid == DONE_PPID) {
		uint64_t sum = 0;

		for (size_t k = 0; k < rx.have && k < 8; k++)
			sum = sum << 8 | rx.message[k];
		say("event=done sum=%016" PRIx64, sum);
	} else {
		verify(info->rcv_sid, ppid - PPID_BASE, info->rcv_flags & SCTP_UNORDERED);
	}
	pthread_mutex_lock(&lock);
	peer_done |= ppid == DONE_PPID;
	all_received = rx.count == options.expect.count;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

/* The first cause of an ABORT and, of a User-Initiated Abort (12), the reason. */
static void say_lost(const uint8_t *info, size_t length)
{
	char reason[256] = "";
	unsigned cause = 0;

	/* usrsctp hands out the chunk with its header (type 6), Linux what follows it. */
	if (length >= 4 && info[0] == 6) {
		info += 4;
		length -= 4;
	}
	if (length >= 4) {
		size_t n = (size_t)info[2] << 8 | info[3];

		cause = (unsigned)info[0] << 8 | info[1];
		n = n > 4 ? n - 4 : 0;
		if (n > length - 4)
			n = length - 4;
		if (n >= sizeof(reason))
			n = sizeof(reason) - 1;
		memcpy(reason, info + 4, n);
		reason[n] = 0;
		for (size_t i = 0; i < n; i++)
			if (reason[i] == ' ')
				reason[i] = '_';
	}
	say("event=closed how=lost cause=%u reason=%s", cause, reason);
}

/* Returns 1 when the association has ended. */
static int on_notification(const union sctp_notification *notification, size_t length)
{
	const struct sctp_assoc_change *change = &notification->sn_assoc_change;
	const struct sctp_paddr_change *path = &notification->sn_paddr_change;
	char text[INET6_ADDRSTRLEN];

	switch (notification->sn_header.sn_type) {
	case SCTP_ASSOC_CHANGE:
		if (change->sac_state == SCTP_COMM_LOST) {
			say_lost(change->sac_info, length - sizeof(*change));
			return 1;
		}
		if (change->sac_state == SCTP_SHUTDOWN_COMP) {
			say("event=closed how=shutdown");
			return 1;
		}
		if (change->sac_state == SCTP_COMM_UP) {
			say("event=up out=%u in=%u", change->sac_outbound_streams, change->sac_inbound_streams);
			if (change->sac_outbound_streams < options.streams)
				fail("fewer streams than asked for");
			return 0;
		}
		if (change->sac_state == SCTP_RESTART) {
			say("event=restarted");
			pthread_mutex_lock(&lock);
			restarted = 1;
			pthread_cond_broadcast(&changed);
			pthread_mutex_unlock(&lock);
			return 0;
		}
		say("event=change state=%u", change->sac_state);
		return 0;
	case SCTP_PEER_ADDR_CHANGE:
		say("event=path address=%s state=%s",
		    address_text((const char *)path + offsetof(struct sctp_paddr_change, spc_aaddr), text),
		    path->spc_state == SCTP_ADDR_AVAILABLE     ? "available"
		    : path->spc_state == SCTP_ADDR_UNREACHABLE ? "unreachable"
		    : path->spc_state == SCTP_ADDR_CONFIRMED   ? "confirmed"
		                                               : "other");
		return 0;
	case SCTP_SHUTDOWN_EVENT:
		say("event=peer-shutdown");
		peer_shutdown = 1;
		return 0;
	default:
		return 0;
	}
}

static void receive_until_the_end(void)
{
	for (;;) {
		struct sctp_rcvinfo info;
		int has_info, flags;
		ssize_t n;

		if (rx.have == rx.room)
			wrong("too-large", rx.count);
		n = x_recvv(association, rx.message + rx.have, rx.room - rx.have, &info, &has_info, &flags);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			fail("receive");
		if (n == 0) {
			/* Linux says so when the peer's SHUTDOWN has come, before the handshake that follows is over. */
			say("event=closed how=%s", peer_shutdown ? "shutdown" : "end-of-file");
			return;
		}
		if (flags & MSG_NOTIFICATION) {
			uint8_t *at = rx.message + rx.have;

			if (on_notification((union sctp_notification *)at, (size_t)n))
				return;
			continue;
		}
		rx.have += (size_t)n;
		if (flags & MSG_EOR) {
			if (!has_info)
				wrong("no-information", rx.count);
			on_message(&info);
			rx.have = 0;
		}
	}
}

/* ---- the command line ----------------------------------------------------------------------------------- */

/* Tells what a workload is, for the test that compares this implementation of it with the one in Rust. */
static void describe(const char *text)
{
	struct workload w;
	uint64_t sum = 0;
	uint32_t unordered = 0;
	uint8_t *buffer;

	if (workload_parse(&w, text) < 0)
		fail("workload");
	buffer = malloc(w.largest ? w.largest : 1);
	for (uint32_t i = 0; i < w.count; i++) {
		sum += workload_sum(i, buffer, workload_fill(&w, i, buffer));
		unordered += !!workload_unordered(&w, i);
	}
	say("event=workload messages=%u bytes=%" PRIu64 " unordered=%u sum=%016" PRIx64, w.count, w.total, unordered, sum);
	free(buffer);
	quit(0);
}

static void parse_options(int argc, char **argv)
{
	static const struct option long_options[] = {
		{ "tag", 1, NULL, 't' },      { "role", 1, NULL, 'r' },        { "local", 1, NULL, 'l' },
		{ "port", 1, NULL, 'p' },     { "remote", 1, NULL, 'R' },      { "remote-port", 1, NULL, 'P' },
		{ "udp", 1, NULL, 'u' },      { "send", 1, NULL, 's' },        { "expect", 1, NULL, 'e' },
		{ "end", 1, NULL, 'E' },      { "streams", 1, NULL, 'S' },     { "fast", 0, NULL, 'f' },
		{ "after-restart", 0, NULL, 'a' },
		{ "buffer", 1, NULL, 'b' },   { "pace-us", 1, NULL, 'c' },     { "time-limit", 1, NULL, 'T' },
		{ "describe", 1, NULL, 'd' },
		{ NULL, 0, NULL, 0 },
	};
	int c, bad = 0;

	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (c) {
		case 't': options.tag = optarg; break;
		case 'r': options.listen = strcmp(optarg, "listen") == 0; break;
		case 'l': bad |= parse_addresses(&options.local, optarg); break;
		case 'p': options.port = (uint16_t)atoi(optarg); break;
		case 'R': bad |= parse_addresses(&options.remote, optarg); break;
		case 'P': options.remote_port = (uint16_t)atoi(optarg); break;
		case 'u': options.udp = (uint16_t)atoi(optarg); break;
		case 's': bad |= workload_parse(&options.send, optarg); break;
		case 'e': bad |= workload_parse(&options.expect, optarg); break;
		case 'E': options.end = optarg; break;
		case 'S': options.streams = (uint16_t)atoi(optarg); break;
		case 'f': options.fast = 1; break;
		case 'a': options.after_restart = 1; break;
		case 'b': options.buffer = (uint32_t)atol(optarg); break;
		case 'c': options.pace_us = (uint32_t)atol(optarg); break;
		case 'T': options.time_limit = (uint32_t)atol(optarg); break;
		case 'd': describe(optarg); break;
		default: bad = 1;
		}
	}
	if (bad || options.streams == 0 || options.streams > MAX_STREAMS || options.local.count == 0) {
		errno = EINVAL;
		fail("command line");
	}
}

int main(int argc, char **argv)
{
	pthread_t thread;

	/* A peer never outlives the test that started it, and never runs longer than it was given. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	parse_options(argc, argv);
	signal(SIGALRM, on_alarm);
	signal(SIGPIPE, SIG_IGN);
	alarm(options.time_limit);

	rx.room = options.expect.largest + 65536;
	rx.message = malloc(rx.room);
	rx.expected = malloc(options.expect.largest + 1);
	rx.seen = calloc(options.expect.count + 1, 1);
	for (uint16_t stream = 0; stream < options.streams; stream++) {
		rx.next[stream] = stream;
		skip_unordered(stream);
	}
	all_received = options.expect.count == 0;

	backend_init(options.udp, options.buffer);
	open_association();
	if (pthread_create(&thread, NULL, sender, NULL) != 0)
		fail("thread");
	receive_until_the_end();
	if (!all_received || !peer_done)
		wrong("ended-too-early", rx.count);
	x_close(association);
	backend_finish();
	quit(0);
}
