/* Descriptors that are copied, closed, passed and inherited. */
#include "case.h"

void copies(void) {
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

void closes_all(void) {
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

void passing(void) {
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

void forks(void) {
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

void forks_of_threads(void) {
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

void execs(const char *self) {
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

void inherited(void) {
    char text[64];
    CHECK(read(0, text, sizeof text) == 8 && memcmp(text, "question", 8) == 0);
    CHECK(write(1, "answer", 6) == 6);
}
