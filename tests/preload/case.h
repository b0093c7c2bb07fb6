/* What the cases share: checks, and ends of associations on the loopback. */
#ifndef CASE_H
#define CASE_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SCTP 132
#define SOL_SCTP_ 132
#define SCTP_NODELAY_ 3
#define SCTP_INITMSG_ 2
#define SCTP_STATUS_ 14

#define CHECK(what)                                                                                                    \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            printf("line %d: not %s (errno %d: %s)\n", __LINE__, #what, errno, strerror(errno));                       \
            fflush(stdout);                                                                                            \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

/* A call that must fail with an errno. */
#define FAILS(call, with)                                                                                              \
    do {                                                                                                               \
        errno = 0;                                                                                                     \
        long result_ = (long)(call);                                                                                   \
        if (result_ != -1 || errno != (with)) {                                                                        \
            printf("line %d: %s is %ld, errno %d, not %s\n", __LINE__, #call, result_, errno, #with);                  \
            fflush(stdout);                                                                                            \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

static volatile void *const nowhere = (void *)8;
#define NOWHERE ((void *)nowhere)

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in name;
    memset(&name, 0, sizeof name);
    name.sin_family = AF_INET;
    name.sin_port = htons(port);
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return name;
}

static int port_of(int fd) {
    struct sockaddr_in name;
    socklen_t length = sizeof name;
    CHECK(getsockname(fd, (void *)&name, &length) == 0 && length == sizeof name);
    return ntohs(name.sin_port);
}

static int listener(int kind) {
    int fd = socket(AF_INET, kind, SCTP);
    CHECK(fd >= 0);
    struct sockaddr_in name = loopback(0);
    CHECK(bind(fd, (void *)&name, sizeof name) == 0);
    CHECK(listen(fd, 128) == 0);
    return fd;
}

static int joined(int port) {
    int fd = socket(AF_INET, SOCK_STREAM, SCTP);
    struct sockaddr_in name = loopback(port);
    CHECK(fd >= 0 && connect(fd, (void *)&name, sizeof name) == 0);
    return fd;
}

/* Two ends of one association. */
static void pair(int ends[2]) {
    int listening = listener(SOCK_STREAM);
    ends[0] = joined(port_of(listening));
    ends[1] = accept(listening, NULL, NULL);
    CHECK(ends[1] >= 0);
    close(listening);
}

static void say(int fd, const char *text) { CHECK(send(fd, text, strlen(text), 0) == (ssize_t)strlen(text)); }

static void hear(int fd, const char *text) {
    char buffer[256];
    ssize_t got = recv(fd, buffer, sizeof buffer, 0);
    if (got != (ssize_t)strlen(text) || memcmp(buffer, text, got) != 0) {
        printf("heard %zd bytes, not \"%s\" (errno %d)\n", got, text, errno);
        exit(1);
    }
}

static int revents(int fd, int events, int timeout) {
    struct pollfd entry = {fd, events, 0};
    CHECK(poll(&entry, 1, timeout) >= 0);
    return entry.revents;
}

static void pause_ms(int ms) {
    struct timespec time = {ms / 1000, ms % 1000 * 1000000L};
    nanosleep(&time, NULL);
}

static void fill(int fd) {
    char block[8192];
    memset(block, 'f', sizeof block);
    /* Some of it is on its way, and makes room. */
    do {
        while (send(fd, block, sizeof block, MSG_DONTWAIT) > 0)
            ;
        CHECK(errno == EAGAIN);
    } while (revents(fd, POLLOUT, 100) & POLLOUT);
}

/* A case, and its name on the command line. */
struct named {
    const char *name;
    void (*run)(void);
};

/* Runs the case that is named. */
static int run_named(const struct named *cases, size_t many, int count, char **words) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t at = 0; count == 2 && at < many; at++)
        if (strcmp(words[1], cases[at].name) == 0) {
            cases[at].run();
            return 0;
        }
    printf("no such case\n");
    return 2;
}

#endif
