/*
 * A thousand one-to-one sockets, and a thousand associations on one one-to-many socket, under epoll in one process:
 *
 *     stress ADDRESS PORT COUNT
 *
 * Does one round of both with each line of its standard input, and says how many descriptors it has afterwards.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define SCTP 132
/* What epoll says beside a client's number. */
#define SERVER 0x10000000u
#define ACCEPTED 0x20000000u

static struct sockaddr_in address;
static int count, queue;

static void fail(const char *what)
{
	printf("failed: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int check(int result, const char *what)
{
	if (result < 0)
		fail(what);
	return result;
}

static void watch(int fd, uint32_t data, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.u64 = (uint64_t)data << 32 | (uint32_t)fd };
	check(epoll_ctl(queue, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
}

static int descriptors(void)
{
	int found = 0;
	DIR *directory = opendir("/proc/self/fd");
	while (directory && readdir(directory))
		found++;
	closedir(directory);
	return found;
}

/* Sends back what has come to a one-to-many server, all of it. */
static void serve_many(int server)
{
	char buffer[64];
	for (;;) {
		struct sockaddr_in from;
		socklen_t length = sizeof from;
		ssize_t got = recvfrom(server, buffer, sizeof buffer, 0, (struct sockaddr *)&from, &length);
		if (got < 0 && errno == EAGAIN)
			return;
		check((int)got, "recvfrom");
		check((int)sendto(server, buffer, got, 0, (struct sockaddr *)&from, length), "sendto");
	}
}

/* Takes all connections that wait. */
static void serve_one(int server)
{
	for (;;) {
		int fd = accept4(server, NULL, NULL, SOCK_NONBLOCK);
		if (fd < 0 && errno == EAGAIN)
			return;
		watch(check(fd, "accept"), ACCEPTED, EPOLLIN);
	}
}

/* Sends back what has come to a one-to-one server, or closes what has ended. Says whether it has. */
static int serve_accepted(int fd)
{
	char buffer[64];
	ssize_t got = recv(fd, buffer, sizeof buffer, 0);
	if (got > 0) {
		check((int)send(fd, buffer, got, 0), "send back");
		return 0;
	}
	if (got < 0 && errno == EAGAIN)
		return 0;
	check((int)got, "recv");
	close(fd);
	return 1;
}

/* A client's answer has come: it must be its own number. */
static void answered(int fd, uint32_t number)
{
	char buffer[64], expected[64];
	ssize_t got = check((int)recv(fd, buffer, sizeof buffer - 1, 0), "recv of a client");
	buffer[got] = 0;
	snprintf(expected, sizeof expected, "number %u", number);
	if (strcmp(buffer, expected)) {
		printf("failed: client %u heard `%s`\n", number, buffer);
		exit(1);
	}
	close(fd);
}

static void round_of(int type)
{
	int server = check(socket(AF_INET, type | SOCK_NONBLOCK, SCTP), "socket");
	int one = 1, answers = 0, ended = 0;
	struct epoll_event events[256];
	check(setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one), "SO_REUSEADDR");
	check(bind(server, (struct sockaddr *)&address, sizeof address), "bind");
	check(listen(server, count), "listen");
	queue = check(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
	watch(server, SERVER, EPOLLIN | EPOLLET);
	for (int number = 0; number < count; number++) {
		int fd = check(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, SCTP), "socket of a client");
		if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS)
			fail("connect");
		watch(fd, (uint32_t)number, EPOLLOUT);
	}
	while (answers < count || (type == SOCK_STREAM && ended < count)) {
		int ready = check(epoll_wait(queue, events, 256, 20000), "epoll_wait");
		if (ready == 0) {
			printf("failed: nothing happens: %d answers, %d ended\n", answers, ended);
			exit(1);
		}
		for (int at = 0; at < ready; at++) {
			uint32_t data = events[at].data.u64 >> 32;
			int fd = (int)(uint32_t)events[at].data.u64;
			if (data == SERVER && type == SOCK_STREAM) {
				serve_one(fd);
			} else if (data == SERVER) {
				serve_many(fd);
			} else if (data == ACCEPTED) {
				ended += serve_accepted(fd);
			} else if (events[at].events & EPOLLIN) {
				answered(fd, data);
				answers++;
			} else {
				char text[64];
				int error = 0, length = snprintf(text, sizeof text, "number %u", data);
				socklen_t size = sizeof error;
				struct epoll_event in = { .events = EPOLLIN, .data = events[at].data };
				check(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size), "SO_ERROR");
				if ((errno = error))
					fail("connected");
				check((int)send(fd, text, length, 0), "send of a client");
				check(epoll_ctl(queue, EPOLL_CTL_MOD, fd, &in), "epoll_ctl");
			}
		}
	}
	close(server);
	close(queue);
}

int main(int argc, char **argv)
{
	char line[16];
	struct rlimit limit;
	if (argc != 4)
		return 2;
	address.sin_family = AF_INET;
	address.sin_port = htons(atoi(argv[2]));
	inet_pton(AF_INET, argv[1], &address.sin_addr);
	count = atoi(argv[3]);
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	while (fgets(line, sizeof line, stdin)) {
		round_of(SOCK_STREAM);
		printf("one-to-one done\n");
		round_of(SOCK_SEQPACKET);
		printf("descriptors: %d\n", descriptors());
	}
	return 0;
}
