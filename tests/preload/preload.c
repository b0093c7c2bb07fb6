/* What a program expects of its system calls, tried with SCTP sockets: each case is an argument.
 *
 * Ends well, or says on one line what is wrong. */
#define _GNU_SOURCE
#include <arpa/inet.h>
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
            exit(1);                                                                                                   \
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
            exit(1);                                                                                                   \
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

/* ---- bad addresses, lengths and counts ---- */

static void addresses(void) {
    int ends[2];
    char bytes[16] = "x";
    pair(ends);
    struct sockaddr_in name = loopback(1);
    socklen_t length = sizeof name;
    FAILS(bind(socket(AF_INET, SOCK_STREAM, SCTP), NOWHERE, sizeof name), EFAULT);
    FAILS(bind(socket(AF_INET, SOCK_STREAM, SCTP), (void *)&name, 1000), EINVAL);
    FAILS(connect(socket(AF_INET, SOCK_STREAM, SCTP), NOWHERE, sizeof name), EFAULT);
    FAILS(connect(socket(AF_INET, SOCK_STREAM, SCTP), (void *)&name, -1), EINVAL);
    FAILS(send(ends[0], NOWHERE, 10, 0), EFAULT);
    FAILS(send(ends[0], NULL, 10, 0), EFAULT);
    FAILS(write(ends[0], (void *)-1, 10), EFAULT);
    FAILS(send(ends[0], bytes, (size_t)1 << 40, 0), EMSGSIZE);
    FAILS(sendto(ends[0], bytes, 1, 0, NOWHERE, sizeof name), EFAULT);
    FAILS(sendto(ends[0], bytes, 1, 0, (void *)&name, 129), EINVAL);
    FAILS(sendmsg(ends[0], NOWHERE, 0), EFAULT);
    FAILS(recvmsg(ends[0], NOWHERE, 0), EFAULT);
    struct iovec parts[1100];
    for (int at = 0; at < 1100; at++) {
        parts[at].iov_base = bytes;
        parts[at].iov_len = 1;
    }
    struct msghdr message;
    memset(&message, 0, sizeof message);
    message.msg_iov = parts;
    message.msg_iovlen = 1100;
    FAILS(sendmsg(ends[0], &message, 0), EMSGSIZE);
    FAILS(recvmsg(ends[0], &message, MSG_DONTWAIT), EMSGSIZE);
    FAILS(writev(ends[0], parts, 1100), EINVAL);
    FAILS(writev(ends[0], parts, -1), EINVAL);
    FAILS(readv(ends[0], parts, -1), EINVAL);
    /* The most parts, to one. */
    CHECK(writev(ends[0], parts, 1024) == 1024);
    char long_one[2000];
    CHECK(recv(ends[1], long_one, sizeof long_one, 0) == 1024 && long_one[1023] == 'x');
    /* From one, to the most. */
    CHECK(send(ends[0], long_one, 1000, 0) == 1000);
    CHECK(readv(ends[1], parts, 1024) == 1000);
    parts[0].iov_len = (size_t)-1;
    message.msg_iovlen = 1;
    FAILS(sendmsg(ends[0], &message, 0), EINVAL);
    parts[0].iov_len = 1;
    message.msg_iov = NOWHERE;
    FAILS(sendmsg(ends[0], &message, 0), EFAULT);
    FAILS(recvmsg(ends[0], &message, MSG_DONTWAIT), EFAULT);
    message.msg_iov = parts;
    message.msg_control = NOWHERE;
    message.msg_controllen = 64;
    FAILS(sendmsg(ends[0], &message, 0), EFAULT);
    message.msg_controllen = 1 << 30;
    FAILS(sendmsg(ends[0], &message, 0), ENOBUFS);
    message.msg_control = NULL;
    message.msg_controllen = 0;
    message.msg_name = bytes;
    message.msg_namelen = -1;
    FAILS(sendmsg(ends[0], &message, 0), EINVAL);
    FAILS(recvmsg(ends[0], &message, MSG_DONTWAIT), EINVAL);
    /* What cannot be given to the program is lost, as with a kernel; the socket is not. */
    say(ends[0], "lost");
    FAILS(recv(ends[1], NOWHERE, 10, 0), EFAULT);
    say(ends[0], "again");
    hear(ends[1], "again");
    say(ends[0], "named");
    FAILS(recvfrom(ends[1], bytes, sizeof bytes, 0, (void *)&name, NOWHERE), EFAULT);
    int one = 1;
    socklen_t size = sizeof one;
    FAILS(setsockopt(ends[0], SOL_SCTP_, SCTP_NODELAY_, NOWHERE, sizeof one), EFAULT);
    FAILS(setsockopt(ends[0], SOL_SOCKET, SO_RCVBUF, NOWHERE, sizeof one), EFAULT);
    FAILS(setsockopt(ends[0], SOL_SCTP_, SCTP_NODELAY_, &one, -1), EINVAL);
    FAILS(getsockopt(ends[0], SOL_SCTP_, SCTP_NODELAY_, NOWHERE, &size), EFAULT);
    FAILS(getsockopt(ends[0], SOL_SCTP_, SCTP_NODELAY_, &one, NOWHERE), EFAULT);
    size = -1;
    FAILS(getsockopt(ends[0], SOL_SCTP_, SCTP_NODELAY_, &one, &size), EINVAL);
    FAILS(getsockname(ends[0], NOWHERE, &length), EFAULT);
    FAILS(getsockname(ends[0], (void *)&name, NOWHERE), EFAULT);
    FAILS(getpeername(ends[0], NULL, NULL), EFAULT);
    FAILS(ioctl(ends[0], FIONREAD, NOWHERE), EFAULT);
    FAILS(poll(NOWHERE, 3, 0), EFAULT);
    FAILS(recvmmsg(ends[0], NOWHERE, 1, 0, NULL), EFAULT);
    FAILS(sendmmsg(ends[0], NOWHERE, 1, 0), EFAULT);
    /* Half of the memory is there. */
    long page = sysconf(_SC_PAGESIZE);
    char *half = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(half + page, page);
    FAILS(send(ends[0], half + page - 10, 20, 0), EFAULT);
    char large[100];
    memset(large, 'y', sizeof large);
    CHECK(send(ends[0], large, sizeof large, 0) == sizeof large);
    FAILS(recv(ends[1], half + page - 10, 100, 0), EFAULT);
    say(ends[0], "well");
    hear(ends[1], "well");
    int listening = listener(SOCK_STREAM);
    int client = joined(port_of(listening));
    FAILS(accept(listening, NOWHERE, &length), EFAULT);
    CHECK(client >= 0);
    FAILS(accept4(listening, NULL, NULL, 12345), EINVAL);
}

/* The same where the kernel does not let a process look at itself. */
static void forbidden(void) {
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_process_vm_readv, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_process_vm_writev, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof program / sizeof *program, program};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
    addresses();
}

/* ---- descriptors ---- */

static void copies(void) {
    int ends[2];
    pair(ends);
    int copy = dup(ends[0]);
    CHECK(copy >= 0);
    close(ends[0]);
    say(copy, "by the copy");
    hear(ends[1], "by the copy");
    int high = fcntl(copy, F_DUPFD_CLOEXEC, 200);
    CHECK(high >= 200);
    close(copy);
    say(high, "by a high one");
    hear(ends[1], "by a high one");
    CHECK(dup2(high, 0) == 0);
    close(high);
    CHECK(write(0, "stdin", 5) == 5);
    hear(ends[1], "stdin");
    /* Over a socket. */
    int null = open("/dev/null", O_RDWR);
    CHECK(dup2(null, 0) == 0);
    CHECK(write(0, "gone", 4) == 4);
    char byte;
    CHECK(recv(ends[1], &byte, 1, 0) == 0);
    /* Behind our back. */
    pair(ends);
    FILE *stream = fdopen(ends[0], "r+");
    fclose(stream);
    int other;
    do
        other = open("/dev/zero", O_RDONLY);
    while (other < ends[0]);
    CHECK(other == ends[0] && read(other, &byte, 1) == 1 && byte == 0);
    CHECK(recv(ends[1], &byte, 1, 0) == 0);
    struct stat status;
    CHECK(fstat(ends[1], &status) == 0 && S_ISSOCK(status.st_mode));
}

static void closes_all(void) {
    int ends[2];
    pair(ends);
    say(ends[0], "before");
    int keep = dup2(ends[1], 100);
    for (int fd = 3; fd < 2000; fd++)
        if (fd != keep)
            close(fd);
    hear(keep, "before");
    int more = socket(AF_INET, SOCK_SEQPACKET, SCTP);
    CHECK(more == 3);
    CHECK(syscall(SYS_close_range, 200, 20000, 0) == 0 || errno == ENOSYS);
    CHECK(port_of(more) == 0);
    CHECK(close_range(101, ~0U, 0) == 0);
    CHECK(port_of(more) == 0);
    CHECK(close_range(3, 99, 0) == 0);
    FAILS(fcntl(3, F_GETFD), EBADF);
    char byte;
    CHECK(recv(keep, &byte, 1, 0) == 0);
    closefrom(3);
    FAILS(recv(keep, &byte, 1, 0), EBADF);
    pair(ends);
    /* The number of a connection of the library's own is taken. */
    for (int fd = 900; fd < 920; fd++)
        CHECK(dup2(0, fd) == fd);
    say(ends[0], "after");
    hear(ends[1], "after");
}

static void passing(void) {
    int ends[2], way[2];
    pair(ends);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, way) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    char space[CMSG_SPACE(sizeof(int))], byte = 'x';
    struct iovec part = {&byte, 1};
    struct msghdr message;
    memset(&message, 0, sizeof message);
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = space;
    message.msg_controllen = sizeof space;
    if (child == 0) {
        close(ends[0]);
        close(ends[1]);
        CHECK(recvmsg(way[1], &message, 0) == 1);
        int got;
        memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof got);
        hear(got, "for you");
        say(got, "thanks");
        _exit(0);
    }
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &ends[1], sizeof(int));
    CHECK(sendmsg(way[0], &message, 0) == 1);
    close(ends[1]);
    say(ends[0], "for you");
    hear(ends[0], "thanks");
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    char last;
    CHECK(recv(ends[0], &last, 1, 0) == 0);
}

static void forks(void) {
    int listening = listener(SOCK_STREAM), port = port_of(listening);
    for (int child = 0; child < 4; child++)
        if (fork() == 0) {
            for (;;) {
                int fd = accept(listening, NULL, NULL);
                CHECK(fd >= 0);
                char text[16];
                ssize_t got = recv(fd, text, sizeof text, 0);
                if (got == 3)
                    _exit(0);
                CHECK(got > 0 && send(fd, text, got, 0) == got);
                close(fd);
            }
        }
    close(listening);
    for (int round = 0; round < 40; round++) {
        int fd = joined(port);
        say(fd, "echo");
        hear(fd, "echo");
        close(fd);
    }
    for (int child = 0; child < 4; child++) {
        int fd = joined(port);
        say(fd, "end");
        int status;
        CHECK(wait(&status) > 0 && status == 0);
        close(fd);
    }
    /* Without exec, while other threads make calls. */
    FAILS(wait(NULL), ECHILD);
}

static volatile int stop;

static void *chatter(void *argument) {
    int *ends = argument;
    while (!stop) {
        say(ends[0], "chat");
        hear(ends[1], "chat");
    }
    return NULL;
}

static void forks_of_threads(void) {
    enum { THREADS = 6 };
    static int ends[THREADS][2];
    pthread_t threads[THREADS];
    for (int at = 0; at < THREADS; at++) {
        pair(ends[at]);
        CHECK(pthread_create(&threads[at], NULL, chatter, ends[at]) == 0);
    }
    for (int round = 0; round < 20; round++) {
        pid_t child = fork();
        if (child == 0) {
            int own[2];
            pair(own);
            say(own[0], "child");
            hear(own[1], "child");
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    stop = 1;
    for (int at = 0; at < THREADS; at++)
        pthread_join(threads[at], NULL);
}

extern char **environ;

static void execs(const char *self) {
    int ends[2];
    pair(ends);
    pid_t child = vfork();
    if (child == 0) {
        close(ends[0]);
        dup2(ends[1], 1);
        dup2(ends[1], 0);
        close(ends[1]);
        execl(self, self, "inherited", NULL);
        _exit(1);
    }
    say(ends[0], "question");
    hear(ends[0], "answer");
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    /* What a child of vfork has closed is open. */
    say(ends[0], "still");
    hear(ends[1], "still");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    char *words[] = {(char *)self, "inherited", NULL};
    CHECK(posix_spawn(&child, self, &actions, NULL, words, environ) == 0);
    say(ends[0], "question");
    hear(ends[0], "answer");
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void inherited(void) {
    char text[64];
    CHECK(read(0, text, sizeof text) == 8 && memcmp(text, "question", 8) == 0);
    CHECK(write(1, "answer", 6) == 6);
}

/* ---- signals ---- */

static volatile sig_atomic_t caught;
static int handler_fd = -1;

static void on_signal(int signal) {
    (void)signal;
    caught++;
    if (handler_fd >= 0)
        send(handler_fd, "from the handler", 16, 0);
}

static void handle(int flags) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = flags;
    sigaction(SIGALRM, &action, NULL);
}

static void alarms_ms(int ms, int again_ms) {
    struct itimerspec time = {{0, again_ms * 1000000L}, {0, ms * 1000000L}};
    static timer_t timer;
    static int made;
    if (!made++)
        CHECK(timer_create(CLOCK_MONOTONIC, NULL, &timer) == 0);
    CHECK(timer_settime(timer, 0, &time, NULL) == 0);
}

static void alarm_ms(int ms) {
    alarms_ms(ms, 0);
}

/* A call is interrupted. On a machine with much to do an alarm may come before the call waits: another follows. */
#define IS_INTERRUPTED(call)                                                                                           \
    do {                                                                                                               \
        int before_ = caught;                                                                                          \
        alarms_ms(100, 100);                                                                                           \
        FAILS(call, EINTR);                                                                                            \
        alarm_ms(0);                                                                                                   \
        CHECK(caught > before_);                                                                                       \
    } while (0)

static void *late(void *argument) {
    pause_ms(300);
    say(*(int *)argument, "late");
    return NULL;
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

static void interruptions(void) {
    int ends[2];
    char byte;
    pair(ends);
    handle(0);
    IS_INTERRUPTED(recv(ends[0], &byte, 1, 0));
    int listening = listener(SOCK_STREAM);
    IS_INTERRUPTED(accept(listening, NULL, NULL));
    struct pollfd entry = {ends[0], POLLIN, 0};
    IS_INTERRUPTED(poll(&entry, 1, -1));
    fill(ends[0]);
    IS_INTERRUPTED(send(ends[0], &byte, 1, 0));
    int before = caught;
    /* Goes on, if the handler says so, ... */
    pair(ends);
    handle(SA_RESTART);
    alarm_ms(100);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, late, &ends[1]) == 0);
    hear(ends[0], "late");
    pthread_join(thread, NULL);
    CHECK(caught == before + 1);
    /* ... but not with a time limit (signal(7)). */
    struct timeval limit = {5, 0};
    CHECK(setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    IS_INTERRUPTED(recv(ends[0], &byte, 1, 0));
}

static void limits(void) {
    int ends[2];
    char byte = 0;
    pair(ends);
    struct timeval limit = {0, 200000};
    CHECK(setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    CHECK(setsockopt(ends[0], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0);
    double begun = now();
    FAILS(recv(ends[0], &byte, 1, 0), EAGAIN);
    CHECK(now() - begun > 0.19 && now() - begun < 2);
    fill(ends[0]);
    begun = now();
    FAILS(send(ends[0], &byte, 1, 0), EAGAIN);
    CHECK(now() - begun > 0.19 && now() - begun < 2);
    begun = now();
    FAILS(recv(ends[0], &byte, 1, MSG_DONTWAIT), EAGAIN);
    int flag = 1;
    CHECK(ioctl(ends[0], FIONBIO, &flag) == 0);
    FAILS(recv(ends[0], &byte, 1, 0), EAGAIN);
    CHECK(now() - begun < 0.15);
    int listening = listener(SOCK_STREAM);
    CHECK(setsockopt(listening, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    begun = now();
    FAILS(accept(listening, NULL, NULL), EAGAIN);
    CHECK(now() - begun > 0.19);
    CHECK(fcntl(listening, F_SETFL, O_NONBLOCK) == 0);
    FAILS(accept(listening, NULL, NULL), EAGAIN);
}

static void pipes(void) {
    int ends[2];
    pair(ends);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    sigaction(SIGPIPE, &action, NULL);
    CHECK(shutdown(ends[0], SHUT_WR) == 0);
    FAILS(send(ends[0], "x", 1, MSG_NOSIGNAL), EPIPE);
    CHECK(caught == 0);
    FAILS(send(ends[0], "x", 1, 0), EPIPE);
    CHECK(caught == 1);
    FAILS(write(ends[0], "x", 1), EPIPE);
    CHECK(caught == 2);
}

static void calls_of_handlers(void) {
    int ends[2], other[2];
    pair(ends);
    pair(other);
    handler_fd = other[0];
    handle(SA_RESTART);
    struct itimerspec time = {{0, 1000000}, {0, 1000000}};
    timer_t timer;
    CHECK(timer_create(CLOCK_MONOTONIC, NULL, &timer) == 0 && timer_settime(timer, 0, &time, NULL) == 0);
    double begun = now();
    while (now() - begun < 1) {
        say(ends[0], "main");
        hear(ends[1], "main");
        free(malloc(100000));
        for (char text[64]; recv(other[1], text, sizeof text, MSG_DONTWAIT) > 0;)
            CHECK(memcmp(text, "from the handler", 16) == 0);
    }
    memset(&time, 0, sizeof time);
    timer_settime(timer, 0, &time, NULL);
    CHECK(caught > 10);
}

static sigjmp_buf back;

static void on_jump(int signal) {
    (void)signal;
    siglongjmp(back, 1);
}

static void jumps(void) {
    int ends[2];
    char byte;
    pair(ends);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_jump;
    sigaction(SIGALRM, &action, NULL);
    for (volatile int round = 0; round < 30; round++) {
        alarm_ms(5);
        if (sigsetjmp(back, 1) == 0)
            for (;;)
                recv(ends[0], &byte, 1, round % 2 ? 0 : MSG_DONTWAIT);
    }
    say(ends[1], "sane");
    hear(ends[0], "sane");
}

/* ---- threads ---- */

static void *receives(void *fd) {
    char byte;
    recv(*(int *)fd, &byte, 1, 0);
    return NULL;
}

static void *accepts(void *fd) {
    accept(*(int *)fd, NULL, NULL);
    return NULL;
}

static void *sends(void *fd) {
    char block[8192];
    memset(block, 's', sizeof block);
    for (;;)
        send(*(int *)fd, block, sizeof block, 0);
    return NULL;
}

static void *connects(void *fd) {
    struct sockaddr_in name = loopback(9);
    name.sin_addr.s_addr = htonl(0xC0000201); /* 192.0.2.1 answers nobody. */
    connect(*(int *)fd, (void *)&name, sizeof name);
    pause_ms(5000);
    return NULL;
}

static void *reads(void *fd) {
    char byte;
    read(*(int *)fd, &byte, 1);
    return NULL;
}

static void cancel(void *(*run)(void *), int *fd) {
    pthread_t thread;
    void *result;
    CHECK(pthread_create(&thread, NULL, run, fd) == 0);
    pause_ms(100);
    CHECK(pthread_cancel(thread) == 0);
    CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
}

static void cancellation(void) {
    int ends[2];
    pair(ends);
    cancel(receives, &ends[0]);
    cancel(reads, &ends[0]);
    say(ends[1], "usable");
    hear(ends[0], "usable");
    /* Waits without asking before. */
    cancel(receives, &ends[0]);
    say(ends[1], "usable");
    hear(ends[0], "usable");
    cancel(sends, &ends[0]);
    char block[8192];
    while (recv(ends[1], block, sizeof block, MSG_DONTWAIT) > 0)
        CHECK(block[0] == 's');
    int listening = listener(SOCK_STREAM), port = port_of(listening);
    cancel(accepts, &listening);
    int client = joined(port), server = accept(listening, NULL, NULL);
    say(client, "usable");
    hear(server, "usable");
    cancel(accepts, &listening);
    close(joined(port));
    CHECK(accept(listening, NULL, NULL) >= 0);
    int connecting = socket(AF_INET, SOCK_STREAM, SCTP);
    cancel(connects, &connecting);
    CHECK(close(connecting) == 0);
}

static void *echo_once(void *argument) {
    int fd = joined(*(int *)argument);
    say(fd, "one of many");
    hear(fd, "one of many");
    close(fd);
    return NULL;
}

static void *serves(void *argument) {
    int listening = *(int *)argument;
    for (;;) {
        int fd = accept(listening, NULL, NULL);
        if (fd < 0)
            return NULL;
        char text[64];
        ssize_t got = recv(fd, text, sizeof text, 0);
        if (got > 0)
            send(fd, text, got, 0);
        close(fd);
    }
}

static int open_descriptors(void) {
    int count = 0;
    for (int fd = 0; fd < 4096; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* Threads come and go by hundreds; each talks, and nothing is left of them. */
static void many_threads(void) {
    enum { AT_ONCE = 100 };
    int listening = listener(SOCK_STREAM), port = port_of(listening);
    pthread_t servers[4], clients[AT_ONCE];
    for (int at = 0; at < 4; at++)
        CHECK(pthread_create(&servers[at], NULL, serves, &listening) == 0);
    for (int round = 0; round < 10; round++) {
        for (int at = 0; at < AT_ONCE; at++)
            CHECK(pthread_create(&clients[at], NULL, echo_once, &port) == 0);
        for (int at = 0; at < AT_ONCE; at++)
            pthread_join(clients[at], NULL);
    }
    for (int at = 0; at < 4; at++) {
        pthread_cancel(servers[at]);
        pthread_join(servers[at], NULL);
    }
    int count = open_descriptors();
    if (count > 30) {
        printf("%d descriptors are left\n", count);
        exit(1);
    }
}

/* Many threads and processes read from one socket, and nobody hangs, spins or misses anything. */
enum { READERS = 8, PROCESSES = 3, MESSAGES = 3000 };
static int shared, *counted;

static void *share(void *argument) {
    struct pollfd entry = {shared, POLLIN, 0};
    long how = (long)argument;
    for (;;) {
        char text[64];
        if (how % 3 == 1 && poll(&entry, 1, -1) < 1)
            exit(1);
        ssize_t got = recv(shared, text, sizeof text, how % 3 ? MSG_DONTWAIT : 0);
        if (got < 0 && errno == EAGAIN) {
            if (how % 3 == 2)
                sched_yield();
            continue;
        }
        if (got == 0)
            return NULL;
        CHECK(got == 8);
        __sync_fetch_and_add(counted, 1);
    }
}

static void sharing(void) {
    int ends[2];
    pair(ends);
    shared = ends[1];
    counted = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int child = 0; child < PROCESSES; child++)
        if (fork() == 0) {
            close(ends[0]);
            pthread_t threads[READERS];
            for (long at = 0; at < READERS; at++)
                pthread_create(&threads[at], NULL, share, (void *)(at % 2));
            for (int at = 0; at < READERS; at++)
                pthread_join(threads[at], NULL);
            _exit(0);
        }
    for (int at = 0; at < MESSAGES; at++) {
        CHECK(send(ends[0], "eight by", 8, 0) == 8);
        if (at % 100 == 0)
            pause_ms(2);
    }
    double begun = now();
    while (*(volatile int *)counted < MESSAGES && now() - begun < 10)
        pause_ms(5);
    if (*counted != MESSAGES) {
        printf("%d messages of %d were read\n", *counted, MESSAGES);
        exit(1);
    }
    CHECK(shutdown(ends[0], SHUT_WR) == 0);
    for (int child = 0; child < PROCESSES; child++) {
        int status;
        CHECK(wait(&status) > 0 && status == 0);
    }
    struct rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
}

/* ---- readiness ---- */

static int epoll_of(int fd, int events) {
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {events, {.fd = fd}};
    CHECK(epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
    return epoll;
}

static int events_of(int epoll, int timeout) {
    struct epoll_event event = {0, {.fd = 0}};
    int count = epoll_wait(epoll, &event, 1, timeout);
    CHECK(count >= 0);
    return count ? (int)event.events : 0;
}

static void readiness(void) {
    int fresh = socket(AF_INET, SOCK_STREAM, SCTP);
    CHECK(revents(fresh, POLLIN | POLLOUT, 0) == 0);
    int listening = listener(SOCK_STREAM), port = port_of(listening);
    CHECK(revents(listening, POLLIN | POLLOUT, 0) == 0);
    int client = joined(port);
    CHECK(revents(client, POLLIN | POLLOUT, 0) == POLLOUT);
    CHECK(revents(listening, POLLIN, 2000) == POLLIN);
    int server = accept(listening, NULL, NULL);
    CHECK(server >= 0 && revents(listening, POLLIN, 0) == 0);
    for (int round = 0; round < 300; round++) {
        say(client, "ready");
        CHECK(revents(server, POLLIN, 2000) == POLLIN);
        hear(server, "ready");
        CHECK(revents(server, POLLIN, 0) == 0);
    }
    /* Until it is full, and from when it is not. */
    fill(client);
    CHECK(revents(client, POLLOUT, 0) == 0);
    char block[8192];
    fd_set set;
    int reads = 0;
    for (;;) {
        struct timeval none = {0, 0};
        FD_ZERO(&set);
        FD_SET(client, &set);
        if (select(client + 1, NULL, &set, NULL, &none) == 1)
            break;
        CHECK(recv(server, block, sizeof block, 0) > 0 && reads++ < 10000);
    }
    CHECK(send(client, block, 1, MSG_DONTWAIT) == 1);
    while (recv(server, block, sizeof block, 0) != 1)
        ;
    /* Nothing more will come. */
    CHECK(shutdown(client, SHUT_WR) == 0);
    CHECK(revents(server, POLLIN | POLLRDHUP, 2000) == (POLLIN | POLLRDHUP));
    CHECK(recv(server, block, 1, 0) == 0);
    CHECK(revents(server, POLLIN | POLLRDHUP, 0) == (POLLIN | POLLRDHUP));
    /* Nobody is there. */
    int refused = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, SCTP);
    close(listening);
    struct sockaddr_in name = loopback(port);
    FAILS(connect(refused, (void *)&name, sizeof name), EINPROGRESS);
    CHECK(revents(refused, POLLOUT, 3000) & (POLLOUT | POLLERR));
    int error = 0;
    socklen_t length = sizeof error;
    CHECK(getsockopt(refused, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == ECONNREFUSED);
}

static void edges(void) {
    int ends[2];
    pair(ends);
    int level = epoll_of(ends[1], EPOLLIN), edge = epoll_of(ends[1], EPOLLIN | EPOLLET);
    CHECK(events_of(level, 0) == 0 && events_of(edge, 0) == 0);
    for (int round = 0; round < 100; round++) {
        say(ends[0], "edge");
        CHECK(events_of(edge, 2000) == EPOLLIN);
        CHECK(events_of(edge, 0) == 0);
        CHECK(events_of(level, 0) == EPOLLIN && events_of(level, 0) == EPOLLIN);
        /* Another one, although nobody has read the first. */
        say(ends[0], "more");
        CHECK(events_of(edge, 2000) == EPOLLIN);
        hear(ends[1], "edge");
        CHECK(events_of(level, 0) == EPOLLIN);
        hear(ends[1], "more");
        CHECK(events_of(level, 0) == 0);
    }
    /* One message at each edge, though more are there: each has told. */
    for (int round = 0; round < 50; round++) {
        say(ends[0], "step");
        CHECK(events_of(edge, 2000) == EPOLLIN);
        if (round >= 5)
            hear(ends[1], "step");
    }
    int writable = epoll_of(ends[0], EPOLLOUT | EPOLLET);
    CHECK(events_of(writable, 0) == EPOLLOUT && events_of(writable, 0) == 0);
    fill(ends[0]);
    CHECK(events_of(writable, 0) == 0);
    char block[8192];
    while (recv(ends[1], block, sizeof block, MSG_DONTWAIT) > 0)
        ;
    CHECK(events_of(writable, 2000) == EPOLLOUT);
}

/* ---- the rest ---- */

static void transfers(void) {
    int ends[2];
    char text[256];
    pair(ends);
    FILE *file = tmpfile();
    fputs("0123456789 of a file", file);
    fflush(file);
    off_t offset = 5;
    CHECK(sendfile(ends[0], fileno(file), &offset, 5) == 5 && offset == 10);
    hear(ends[1], "56789");
    lseek(fileno(file), 11, SEEK_SET);
    CHECK(sendfile(ends[0], fileno(file), NULL, 1000) == 9);
    hear(ends[1], "of a file");
    CHECK(lseek(fileno(file), 0, SEEK_CUR) == 20);
    int way[2];
    CHECK(pipe(way) == 0);
    CHECK(write(way[1], "through a pipe", 14) == 14);
    CHECK(splice(way[0], NULL, ends[0], NULL, 100, 0) == 14);
    CHECK(splice(ends[1], NULL, way[1], NULL, 100, 0) == 14);
    CHECK(read(way[0], text, sizeof text) == 14 && memcmp(text, "through a pipe", 14) == 0);
    struct mmsghdr messages[4];
    struct iovec parts[4];
    memset(messages, 0, sizeof messages);
    for (int at = 0; at < 4; at++) {
        parts[at].iov_base = text + 10 * at;
        parts[at].iov_len = at + 1;
        messages[at].msg_hdr.msg_iov = &parts[at];
        messages[at].msg_hdr.msg_iovlen = 1;
    }
    CHECK(sendmmsg(ends[0], messages, 4, 0) == 4 && messages[3].msg_len == 4);
    for (int at = 0; at < 4; at++)
        parts[at].iov_len = 10;
    CHECK(recvmmsg(ends[1], messages, 4, MSG_WAITFORONE, NULL) >= 1 && messages[0].msg_len == 1);
    while (recv(ends[1], text, sizeof text, MSG_DONTWAIT) > 0)
        ;
    say(ends[0], "how many");
    CHECK(revents(ends[1], POLLIN, 2000) == POLLIN);
    int waiting = -1;
    CHECK(ioctl(ends[1], FIONREAD, &waiting) == 0 && waiting == 8);
    CHECK(recv(ends[1], text, 3, MSG_PEEK) == 3 && recv(ends[1], text, 3, 0) == 3);
    CHECK(ioctl(ends[1], FIONREAD, &waiting) == 0 && waiting == 5);
    CHECK(recv(ends[1], text, sizeof text, 0) == 5);
    struct sockaddr_in name;
    socklen_t length = sizeof name;
    say(ends[0], "from whom");
    CHECK(recvfrom(ends[1], text, sizeof text, 0, (void *)&name, &length) == 9 && length == sizeof name);
    CHECK(ntohs(name.sin_port) == port_of(ends[0]));
}

/* A daemon that becomes another user before its threads and sockets are made. */
static void drops(void) {
    if (geteuid() != 0)
        return;
    CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    int ends[2];
    pair(ends);
    say(ends[0], "as another");
    hear(ends[1], "as another");
}

/* Without the key, it is a stranger. */
static void stranger(void) {
    if (geteuid() != 0)
        return;
    CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    CHECK(socket(AF_INET, SOCK_STREAM, SCTP) == -1);
    printf("refused: %s\n", strerror(errno));
}

/* No child, and no signal of one. */
static void childless(void) {
    handle(0);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    sigaction(SIGCHLD, &action, NULL);
    int ends[2];
    pair(ends);
    say(ends[0], "alone");
    hear(ends[1], "alone");
    CHECK(caught == 0);
    FAILS(waitpid(-1, NULL, __WALL | WNOHANG), ECHILD);
}

static void ping_pong(void) {
    int ends[2];
    pair(ends);
    char text[64];
    memset(text, 'p', sizeof text);
    int rounds = 5000;
    if (fork() == 0) {
        for (int round = 0; round < rounds; round++) {
            CHECK(recv(ends[1], text, sizeof text, 0) == sizeof text);
            CHECK(send(ends[1], text, sizeof text, 0) == sizeof text);
        }
        _exit(0);
    }
    double begun = now();
    for (int round = 0; round < rounds; round++) {
        CHECK(send(ends[0], text, sizeof text, 0) == sizeof text);
        CHECK(recv(ends[0], text, sizeof text, 0) == sizeof text);
    }
    printf("round trip: %.1f us\n", (now() - begun) / rounds * 1e6);
}

static void plain_pipe(void) {
    int way[2];
    char byte = 'x';
    CHECK(pipe(way) == 0);
    int rounds = 1000000;
    double begun = now();
    for (int round = 0; round < rounds; round++) {
        CHECK(write(way[1], &byte, 1) == 1);
        CHECK(read(way[0], &byte, 1) == 1);
    }
    printf("write and read of a pipe: %.1f ns\n", (now() - begun) / rounds * 1e9);
}

int main(int count, char **words) {
    static const struct {
        const char *name;
        void (*run)(void);
    } cases[] = {
        {"addresses", addresses},
        {"forbidden", forbidden},
        {"copies", copies},
        {"closes-all", closes_all},
        {"passing", passing},
        {"forks", forks},
        {"forks-of-threads", forks_of_threads},
        {"inherited", inherited},
        {"interruptions", interruptions},
        {"limits", limits},
        {"pipes", pipes},
        {"calls-of-handlers", calls_of_handlers},
        {"jumps", jumps},
        {"cancellation", cancellation},
        {"many-threads", many_threads},
        {"sharing", sharing},
        {"readiness", readiness},
        {"edges", edges},
        {"transfers", transfers},
        {"drops", drops},
        {"stranger", stranger},
        {"childless", childless},
        {"ping-pong", ping_pong},
        {"plain-pipe", plain_pipe},
    };
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (count == 2 && strcmp(words[1], "execs") == 0) {
        execs(words[0]);
        return 0;
    }
    for (size_t at = 0; count == 2 && at < sizeof cases / sizeof *cases; at++)
        if (strcmp(words[1], cases[at].name) == 0) {
            cases[at].run();
            return 0;
        }
    printf("no such case\n");
    return 2;
}
