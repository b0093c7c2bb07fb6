/* Threads that are cancelled, come and go by hundreds, and share a socket. */
#include "case.h"

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

void cancellation(void) {
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
void many_threads(void) {
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

void sharing(void) {
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
