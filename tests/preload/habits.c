/* Habits of language runtimes and daemons, tried with SCTP sockets: each case is an argument.
 *
 * Ends well, or says on one line what is wrong. Built with PLUGIN it is a library that makes a socket. */
#include "case.h"

#ifdef PLUGIN

int plugin_socket(void) {
    return socket(AF_INET, SOCK_STREAM, SCTP);
}

#else

static int protocol_of(int fd) {
    int protocol = 0;
    socklen_t length = sizeof protocol;
    CHECK(getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) == 0);
    return protocol;
}

/* A sequence of packets without a protocol is SCTP, as on Linux: so socket activation asks for it. */
static void untyped(void) {
    int fd = socket(AF_INET, SOCK_SEQPACKET, 0);
    CHECK(fd >= 0 && protocol_of(fd) == SCTP);
    CHECK(socket(AF_INET6, SOCK_SEQPACKET | SOCK_CLOEXEC, 0) >= 0);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0 && protocol_of(fd) == IPPROTO_TCP);
    CHECK(socket(AF_UNIX, SOCK_SEQPACKET, 0) >= 0);
}

static int reader_errno;

static void *reads(void *ends) {
    char byte;
    reader_errno = recv(*(int *)ends, &byte, 1, 0) < 0 ? errno : 0;
    return NULL;
}

/* Whoever has read before waits for its descriptor alone; after `shutdown` it must not wait for ever. */
static void shut(void) {
    for (int waits_before = 0; waits_before < 2; waits_before++) {
        int ends[2];
        char byte = 'x';
        pair(ends);
        for (int round = 0; round < 3; round++) {
            CHECK(send(ends[1], &byte, 1, 0) == 1);
            CHECK(recv(ends[0], &byte, 1, 0) == 1);
        }
        pthread_t reader;
        struct timespec limit;
        if (waits_before) {
            CHECK(pthread_create(&reader, NULL, reads, ends) == 0);
            usleep(100000);
        }
        CHECK(shutdown(ends[0], SHUT_WR) == 0);
        if (!waits_before)
            CHECK(pthread_create(&reader, NULL, reads, ends) == 0);
        CHECK(clock_gettime(CLOCK_REALTIME, &limit) == 0);
        limit.tv_sec += 10;
        CHECK(pthread_timedjoin_np(reader, NULL, &limit) == 0);
        /* As on Linux: it is not connected any more, since it was itself that ended this. */
        CHECK(reader_errno == ENOTCONN);
        CHECK(recv(ends[1], &byte, 1, 0) == 0);
    }
}

/* Extensions of PHP are loaded so. */
static void deep(void) {
    const char *plugin = getenv("HABITS_PLUGIN");
    void *library = dlopen(plugin, RTLD_NOW | RTLD_GLOBAL | RTLD_DEEPBIND);
    CHECK(library != NULL);
    int (*make)(void) = (int (*)(void))dlsym(library, "plugin_socket");
    CHECK(make != NULL && protocol_of(make()) == SCTP);
    CHECK(dlopen("no such library", RTLD_LAZY) == NULL && dlerror() != NULL);
    CHECK(dlopen(NULL, RTLD_LAZY) != NULL);
}

/* Foreign function interfaces look functions up so. */
static void by_name(void) {
    const char *names[] = {"libc.so.6", "/lib/x86_64-linux-gnu/libc.so.6"};
    for (int at = 0; at < 2; at++) {
        void *library = dlopen(names[at], RTLD_LAZY);
        CHECK(library != NULL);
        int (*make)(int, int, int) = (int (*)(int, int, int))dlsym(library, "socket");
        CHECK(make != NULL && protocol_of(make(AF_INET, SOCK_STREAM, SCTP)) == SCTP);
        CHECK(dlsym(library, "qsort") != NULL && dlsym(library, "no such function") == NULL);
        CHECK(dlvsym(library, "qsort", "GLIBC_2.2.5") == dlsym(library, "qsort"));
        CHECK(dlclose(library) == 0);
    }
    CHECK(dlopen("libc.so.5", RTLD_LAZY) == NULL);
    CHECK(dlopen("libm.so.6", RTLD_LAZY) != NULL);
}

/* There are no messages of nothing, but `writev` of nothing is none. */
static void nothing(void) {
    int ends[2];
    char byte;
    struct iovec parts[2] = {{&byte, 0}, {NULL, 0}};
    pair(ends);
    CHECK(writev(ends[0], parts, 2) == 0 && writev(ends[0], parts, 0) == 0 && writev(ends[0], NULL, 0) == 0);
    CHECK(readv(ends[1], parts, 2) == 0 && readv(ends[1], parts, 0) == 0);
    CHECK(pwritev2(ends[0], parts, 1, -1, 0) == 0 && preadv2(ends[1], parts, 1, -1, 0) == 0);
    FAILS(writev(ends[0], parts, -1), EINVAL);
    FAILS(write(ends[0], &byte, 0), EINVAL);
    say(ends[0], "something");
    CHECK(readv(ends[1], parts, 2) == 0);
    hear(ends[1], "something");
}

/* A stream of the C library over a socket, both ways. */
static void streams(void) {
    int ends[2];
    char line[100];
    pair(ends);
    FILE *reads = fdopen(dup(ends[0]), "r"), *writes = fdopen(ends[1], "w");
    CHECK(reads != NULL && writes != NULL);
    CHECK(fileno(writes) == ends[1] && fileno(reads) >= 0 && fileno(stdin) == 0);
    CHECK(fprintf(writes, "%s %d\n", "number", 1) == 9 && fprintf(writes, "second\n") == 7 && fflush(writes) == 0);
    CHECK(fgets(line, sizeof line, reads) != NULL && strcmp(line, "number 1\n") == 0);
    CHECK(fgets(line, sizeof line, reads) != NULL && strcmp(line, "second\n") == 0);
    CHECK(fseek(reads, 0, SEEK_SET) < 0);
    CHECK(fclose(writes) == 0);
    CHECK(close(ends[1]) < 0 && errno == EBADF);
    CHECK(fgets(line, sizeof line, reads) == NULL && feof(reads) && fclose(reads) == 0);
    /* What is no socket of ours is as ever. */
    int way[2];
    CHECK(pipe(way) == 0);
    writes = fdopen(way[1], "w");
    CHECK(fileno(writes) == way[1] && fputs("through", writes) > 0 && fclose(writes) == 0);
    CHECK(read(way[0], line, sizeof line) == 7);
}

/* Servers of tutorials serve so, and shells redirect so. */
static void redirected_streams(void) {
    int ends[2], status;
    char line[100];
    pair(ends);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], 0);
        close(1);
        dup(ends[1]);
        close(ends[0]);
        close(ends[1]);
        while (fgets(line, sizeof line, stdin)) {
            printf("you said %s", line);
            fflush(stdout);
        }
        _exit(feof(stdin) ? 0 : 1);
    }
    for (int round = 0; round < 2; round++) {
        CHECK(send(ends[0], "word\n", 5, 0) == 5);
        CHECK(recv(ends[0], line, sizeof line, 0) == 14 && memcmp(line, "you said word\n", 14) == 0);
    }
    /* And back. */
    FILE *before = stdout;
    int saved = dup(1), way[2];
    CHECK(pipe(way) == 0 && dup2(way[1], 1) == 1 && stdout == before);
    printf("to the pipe, ");
    CHECK(dup2(ends[0], 1) == 1 && stdout != before && fileno(stdout) == 1);
    printf("to the child\n");
    CHECK(dup2(way[1], 1) == 1 && stdout == before);
    puts("and again");
    fflush(stdout);
    CHECK(dup2(saved, 1) == 1);
    CHECK(read(way[0], line, sizeof line) == 23 && memcmp(line, "to the pipe, and again\n", 23) == 0);
    CHECK(recv(ends[0], line, sizeof line, 0) == 22 && memcmp(line, "you said to the child\n", 22) == 0);
    /* A child of vfork has its parent's memory. */
    pid_t other = vfork();
    if (other == 0) {
        dup2(ends[0], 1);
        _exit(0);
    }
    CHECK(waitpid(other, &status, 0) == other && stdout == before);
    close(ends[0]);
    close(ends[1]);
    CHECK(waitpid(child, &status, 0) == child);
}

/* A program whose standard input and output are a socket, as those of inetd have it. */
static void inherited_streams(void) {
    int ends[2];
    char line[100];
    pair(ends);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], 0);
        dup2(ends[1], 1);
        close(ends[0]);
        execlp("sh", "sh", "-c", "read -r word && printf '%s\\n' \"got $word\" && exec sort", NULL);
        _exit(9);
    }
    close(ends[1]);
    CHECK(send(ends[0], "word\n", 5, 0) == 5);
    CHECK(recv(ends[0], line, sizeof line, 0) == 9 && memcmp(line, "got word\n", 9) == 0);
    CHECK(send(ends[0], "b\n", 2, 0) == 2 && send(ends[0], "a\n", 2, 0) == 2);
    usleep(100000);
    CHECK(kill(child, 0) == 0);
    /* Ends what it reads; that it can still send then is no business of SCTP, which has no half-open connections. */
    close(ends[0]);
    int status;
    CHECK(waitpid(child, &status, 0) == child);
}

int main(int count, char **words) {
    static const struct named cases[] = {
        {"untyped", untyped},
        {"shut", shut},
        {"deep", deep},
        {"by-name", by_name},
        {"nothing", nothing},
        {"streams", streams},
        {"inherited-streams", inherited_streams},
        {"redirected-streams", redirected_streams},
    };
    return run_named(cases, sizeof cases / sizeof *cases, count, words);
}

#endif
