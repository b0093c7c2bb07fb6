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

/* The process of the broker that serves us, or 0: it is called by its name. */
static pid_t broker(void) {
    const char *name = getenv("ESOCK_BROKER");
    DIR *processes = opendir("/proc");
    CHECK(name && processes);
    pid_t found = 0;
    for (struct dirent *entry; !found && (entry = readdir(processes));) {
        char path[300], line[4096];
        snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
        int file = atoi(entry->d_name) > 0 ? open(path, O_RDONLY) : -1;
        ssize_t length = file >= 0 ? read(file, line, sizeof line) : 0;
        if (file >= 0)
            close(file);
        if (length > 0 && memmem(line, length, "broker", 6) && memmem(line, length, name, strlen(name)))
            found = atoi(entry->d_name);
    }
    closedir(processes);
    return found;
}

/* close says nothing of what it has the broker do, and where there is none any more it makes no other. Sockets that went
 * with it say that there is no network any more, not that they are no descriptors. */
void closes_quietly(void) {
    int ends[2], lost[2];
    char byte = 'x';
    pair(ends);
    pair(lost);
    errno = ENOTTY;
    CHECK(close(ends[0]) == 0 && errno == ENOTTY);
    pid_t was = broker();
    CHECK(was > 0 && kill(was, SIGKILL) == 0);
    for (int i = 0; i < 500 && broker() == was; i++)
        usleep(10000);
    errno = ENOTTY;
    CHECK(close(ends[1]) == 0 && errno == ENOTTY);
    usleep(200000);
    CHECK(broker() == 0);
    CHECK(revents(lost[0], POLLIN | POLLOUT, 5000) & POLLHUP);
    FAILS(recv(lost[0], &byte, 1, 0), ENETDOWN);
    FAILS(send(lost[0], &byte, 1, MSG_NOSIGNAL), ENETDOWN);
    FAILS(listen(lost[1], 1), ENETDOWN);
    CHECK(close(lost[0]) == 0 && close(lost[1]) == 0);
    pair(ends);
    say(ends[0], "anew");
    hear(ends[1], "anew");
}

/* Who waits for a broker that does not answer can be ended, unless it does not want to be. */
void broker_is_silent(void) {
    int ends[2], status;
    char byte;
    pair(ends);
    pid_t was = broker();
    CHECK(was > 0 && kill(was, SIGSTOP) == 0);
    pid_t children[2];
    for (int holds = 0; holds < 2; holds++)
        if ((children[holds] = fork()) == 0) {
            sigset_t set;
            sigemptyset(&set);
            sigaddset(&set, SIGTERM);
            sigprocmask(SIG_BLOCK, holds ? &set : NULL, NULL);
            recv(ends[0], &byte, 1, MSG_DONTWAIT);
            _exit(7);
        }
    pause_ms(100);
    CHECK(kill(children[0], SIGTERM) == 0 && kill(children[1], SIGTERM) == 0);
    CHECK(waitpid(children[0], &status, 0) == children[0] && WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    pause_ms(600);
    CHECK(waitpid(children[1], &status, WNOHANG) == 0);
    CHECK(kill(was, SIGCONT) == 0);
    CHECK(waitpid(children[1], &status, 0) == children[1] && WIFEXITED(status) && WEXITSTATUS(status) == 7);
    say(ends[0], "goes on");
    hear(ends[1], "goes on");
}

/* A broker that has no descriptor left says so to all who want one, and nobody waits for it. */
void broker_is_full(void) {
    int ends[2], fds[200], made = 0;
    pair(ends);
    struct rlimit few = {60, 60};
    CHECK(prlimit(broker(), RLIMIT_NOFILE, &few, NULL) == 0);
    while (made < 200 && (fds[made] = socket(AF_INET, SOCK_STREAM, SCTP)) >= 0)
        made++;
    CHECK(made < 60 && errno == ENFILE);
    pid_t child = fork();
    if (child == 0) {
        /* It has no connection of its own yet. */
        FAILS(socket(AF_INET, SOCK_STREAM, SCTP), ENFILE);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    say(ends[0], "still");
    hear(ends[1], "still");
    while (made > 0)
        close(fds[--made]);
    int more[2];
    pair(more);
    say(more[0], "again");
    hear(more[1], "again");
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
