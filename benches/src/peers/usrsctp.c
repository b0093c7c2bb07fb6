/*
 * usrsctp for the benchmarks: one end of an association over UDP encapsulation on loopback, in a process of its own.
 *
 *   usrsctp-bench MODE CORE UDP_PORT PEER_UDP_PORT PACKET_BYTES MESSAGE_BYTES TEMPLATES COUNT WARM_UP_MS MEASURE_MS
 *
 * MODE is what this end does: `recv` and `send`, `echo` and `ping`, or `accept` and `connect` or `connect-among`. COUNT is
 * the number of exchanges (ping), or of associations at once (connect); `connect-among` counts those beyond the first
 * MESSAGE_BYTES. Listening ends say "ready"; a result is one line of numbers.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <signal.h>
#include <usrsctp.h>

#define SCTP_PORT 5001
#define BUFFER_BYTES (8 << 20)
#define SAMPLE_EVERY 1024
#define SAMPLE_BYTES 8

static struct {
	const char *mode;
	uint16_t udp, peer_udp;
	size_t packet, message, templates, count;
	uint64_t warm_up, measure;
} options;

static uint8_t **templates;

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void fail(const char *what)
{
	fprintf(stderr, "usrsctp: %s: %s\n", what, strerror(errno));
	_exit(1);
}

/* The same as in pattern.rs. */
static void make_templates(void)
{
	templates = calloc(options.templates, sizeof(*templates));
	for (size_t k = 0; k < options.templates; k++) {
		templates[k] = malloc(options.message);
		for (size_t i = 0; i < options.message; i++)
			templates[k][i] = (uint8_t)(k * 31 + i * 7 + (i >> 8) * 13);
	}
}

/* The length, and samples of the content. */
static void check(uint64_t n, const uint8_t *data, size_t length)
{
	const uint8_t *wanted = templates[n % options.templates];

	if (length != options.message)
		fail("a message has the wrong length");
	for (size_t i = 0; i + SAMPLE_BYTES <= length; i += SAMPLE_EVERY)
		if (memcmp(data + i, wanted + i, SAMPLE_BYTES) != 0)
			fail("a message has the wrong content");
}

static void set(struct socket *s, int level, int name, const void *value, socklen_t length, const char *what)
{
	if (usrsctp_setsockopt(s, level, name, value, length) < 0)
		fail(what);
}

typedef int receive_fn(struct socket *, union sctp_sockstore, void *, size_t, struct sctp_rcvinfo, int, void *);

static struct socket *open_socket(receive_fn *on_receive)
{
	struct socket *s = usrsctp_socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP, on_receive, NULL, 0, NULL);
	struct sctp_udpencaps encaps = { 0 };
	struct sctp_paddrparams path = { 0 };
	int on = 1, bytes = BUFFER_BYTES;

	if (!s)
		fail("socket");
	set(s, IPPROTO_SCTP, SCTP_NODELAY, &on, sizeof(on), "SCTP_NODELAY");
	set(s, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes), "SO_RCVBUF");
	set(s, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes), "SO_SNDBUF");
	if (options.peer_udp) {
		encaps.sue_address.ss_family = AF_INET;
		encaps.sue_port = htons(options.peer_udp);
		set(s, IPPROTO_SCTP, SCTP_REMOTE_UDP_ENCAPS_PORT, &encaps, sizeof(encaps), "UDP_ENCAPS_PORT");
	}
	/* Its path MTU is the room for chunks: without the common header, and what is around that. */
	path.spp_address.ss_family = AF_INET;
	path.spp_flags = SPP_PMTUD_DISABLE;
	path.spp_pathmtu = (uint32_t)options.packet - 12;
	set(s, IPPROTO_SCTP, SCTP_PEER_ADDR_PARAMS, &path, sizeof(path), "SCTP_PEER_ADDR_PARAMS");
	return s;
}

static struct sockaddr_in loopback(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return a;
}

static struct socket *listen_on(receive_fn *on_receive)
{
	struct sockaddr_in a = loopback(SCTP_PORT);
	struct socket *s = open_socket(on_receive);

	if (usrsctp_bind(s, (struct sockaddr *)&a, sizeof(a)) < 0)
		fail("bind");
	if (usrsctp_listen(s, 1024) < 0)
		fail("listen");
	puts("ready");
	fflush(stdout);
	return s;
}

static struct socket *connect_to(receive_fn *on_receive)
{
	struct sockaddr_in a = loopback(SCTP_PORT);
	struct socket *s = open_socket(on_receive);

	if (usrsctp_connect(s, (struct sockaddr *)&a, sizeof(a)) < 0)
		fail("connect");
	return s;
}

static struct socket *accept_one(struct socket *listener)
{
	struct socket *s = usrsctp_accept(listener, NULL, NULL);

	if (!s)
		fail("accept");
	return s;
}

/* ---- bulk ----------------------------------------------------------------------------------------------- */

static struct {
	uint8_t *partial;
	size_t have;
	uint64_t received, began, counted_from, bytes, messages;
} rx;

static void on_message(const uint8_t *data, size_t length)
{
	uint64_t t;

	check(rx.received++, data, length);
	if (!rx.began)
		rx.began = now();
	rx.messages++;
	rx.bytes += length;
	if (rx.received % 16 && options.message < 1000)
		return;
	t = now();
	if (!rx.counted_from && t - rx.began >= options.warm_up) {
		rx.counted_from = t;
		rx.messages = rx.bytes = 0;
	} else if (rx.counted_from && t - rx.counted_from >= options.measure) {
		printf("%llu %llu %llu\n", (unsigned long long)rx.bytes, (unsigned long long)rx.messages,
		       (unsigned long long)(t - rx.counted_from));
		fflush(stdout);
		_exit(0);
	}
}

static int on_bulk(struct socket *s, union sctp_sockstore from, void *data, size_t length, struct sctp_rcvinfo info,
		   int flags, void *unused)
{
	(void)s, (void)from, (void)info, (void)unused;
	if (!data)
		return 1;
	if (!(flags & MSG_NOTIFICATION)) {
		if (rx.have == 0 && (flags & MSG_EOR)) {
			on_message(data, length);
		} else {
			if (rx.have + length > options.message)
				fail("a message is too long");
			memcpy(rx.partial + rx.have, data, length);
			rx.have += length;
			if (flags & MSG_EOR) {
				on_message(rx.partial, rx.have);
				rx.have = 0;
			}
		}
	}
	free(data);
	return 1;
}

static void send_for_ever(struct socket *s)
{
	struct sctp_sndinfo info = { 0 };

	for (uint64_t n = 0;; n++)
		if (usrsctp_sendv(s, templates[n % options.templates], options.message, NULL, 0, &info, sizeof(info),
				  SCTP_SENDV_SNDINFO, 0) < 0)
			fail("send");
}

/* ---- ping-pong ------------------------------------------------------------------------------------------ */

static uint64_t pings, sent_at, *times;

static void send_one(struct socket *s, const void *data, size_t length)
{
	struct sctp_sndinfo info = { 0 };

	if (usrsctp_sendv(s, data, length, NULL, 0, &info, sizeof(info), SCTP_SENDV_SNDINFO, 0) < 0)
		fail("send");
}

static int on_echo(struct socket *s, union sctp_sockstore from, void *data, size_t length, struct sctp_rcvinfo info,
		   int flags, void *unused)
{
	(void)from, (void)info, (void)unused;
	if (data && !(flags & MSG_NOTIFICATION))
		send_one(s, data, length);
	free(data);
	return 1;
}

/* The next one leaves from here: no other thread need wake up. */
static int on_pong(struct socket *s, union sctp_sockstore from, void *data, size_t length, struct sctp_rcvinfo info,
		   int flags, void *unused)
{
	uint64_t t = now();

	(void)from, (void)info, (void)unused;
	if (!data || (flags & MSG_NOTIFICATION)) {
		free(data);
		return 1;
	}
	check(pings, data, length);
	times[pings++] = t - sent_at;
	free(data);
	if (pings == options.count) {
		for (size_t i = 0; i < options.count; i++)
			printf("%llu ", (unsigned long long)times[i]);
		puts("");
		fflush(stdout);
		_exit(0);
	}
	sent_at = now();
	send_one(s, templates[pings % options.templates], options.message);
	return 1;
}

/* ---- setup ---------------------------------------------------------------------------------------------- */

static uint64_t existing, set_up, counted_from, deadline;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *connect_for_a_time(void *unused)
{
	(void)unused;
	for (;;) {
		pthread_mutex_lock(&lock);
		if (!deadline && set_up >= existing) {
			counted_from = now();
			deadline = counted_from + options.measure;
		}
		if (deadline && now() >= deadline) {
			pthread_mutex_unlock(&lock);
			return NULL;
		}
		pthread_mutex_unlock(&lock);
		connect_to(NULL);
		pthread_mutex_lock(&lock);
		set_up++;
		pthread_mutex_unlock(&lock);
	}
}

static void connect_many(void)
{
	pthread_t threads[256];

	for (size_t i = 0; i < options.count; i++)
		if (pthread_create(&threads[i], NULL, connect_for_a_time, NULL) != 0)
			fail("thread");
	for (size_t i = 0; i < options.count; i++)
		pthread_join(threads[i], NULL);
	printf("%llu %llu\n", (unsigned long long)(set_up - existing),
	       (unsigned long long)(now() - counted_from));
	fflush(stdout);
	_exit(0);
}

/* --------------------------------------------------------------------------------------------------------- */

static int is(const char *mode)
{
	return strcmp(options.mode, mode) == 0;
}

static void start(char **argv)
{
	cpu_set_t cores;
	int bytes = 32 << 20;

	options.mode = argv[1];
	options.udp = (uint16_t)atoi(argv[3]);
	options.peer_udp = (uint16_t)atoi(argv[4]);
	options.packet = (size_t)atol(argv[5]);
	options.message = (size_t)atol(argv[6]);
	options.templates = (size_t)atol(argv[7]);
	options.count = (size_t)atol(argv[8]);
	options.warm_up = (uint64_t)atol(argv[9]) * 1000000u;
	options.measure = (uint64_t)atol(argv[10]) * 1000000u;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	CPU_ZERO(&cores);
	CPU_SET((size_t)atoi(argv[2]), &cores);
	sched_setaffinity(0, sizeof(cores), &cores);
	make_templates();
	rx.partial = malloc(options.message);
	times = calloc(options.count + 1, sizeof(*times));

	usrsctp_init(options.udp, NULL, NULL);
	/* Its sockets have the system's default receive buffer, which is less than a window. */
	for (int fd = 3; fd < 64; fd++)
		(void)(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)) |
		       setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)));
	usrsctp_sysctl_set_sctp_sendspace(BUFFER_BYTES);
	usrsctp_sysctl_set_sctp_recvspace(BUFFER_BYTES);
	/* The default, 2048, is less than the window holds. */
	usrsctp_sysctl_set_sctp_max_chunks_on_queue(1 << 20);
	usrsctp_sysctl_set_sctp_blackhole(2);
}

int main(int argc, char **argv)
{
	if (argc != 11) {
		fprintf(stderr, "usrsctp: wrong arguments\n");
		return 2;
	}
	start(argv);
	if (is("recv")) {
		accept_one(listen_on(on_bulk));
	} else if (is("send")) {
		send_for_ever(connect_to(NULL));
	} else if (is("echo")) {
		accept_one(listen_on(on_echo));
	} else if (is("ping")) {
		struct socket *s = connect_to(on_pong);

		sent_at = now();
		send_one(s, templates[0], options.message);
	} else if (is("accept")) {
		struct socket *listener = listen_on(NULL);

		for (;;)
			accept_one(listener);
	} else if (is("connect")) {
		connect_many();
	} else if (is("connect-among")) {
		existing = options.message;
		connect_many();
	}
	for (;;)
		pause();
}
