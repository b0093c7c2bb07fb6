/* Large messages, whose data lie in memory that the library shares with the broker; and programs that do not keep to
 * what was agreed: each case is an argument.
 *
 * Ends well, or says on one line what is wrong. */
#include "case.h"

enum { MOST = 600 << 10, PAGE = 4096 };
static unsigned char sent[MOST], got[MOST];

static void large_pair(int ends[2]) {
    struct sockaddr_in name;
    socklen_t length = sizeof name;
    int bytes = 2 * MOST;
    memset(&name, 0, sizeof name);
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listening = socket(AF_INET, SOCK_STREAM, SCTP);
    CHECK(listening >= 0 && bind(listening, (void *)&name, sizeof name) == 0 && listen(listening, 5) == 0);
    CHECK(getsockname(listening, (void *)&name, &length) == 0);
    ends[0] = socket(AF_INET, SOCK_STREAM, SCTP);
    CHECK(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes) == 0);
    CHECK(connect(ends[0], (void *)&name, sizeof name) == 0);
    ends[1] = accept(listening, NULL, NULL);
    CHECK(ends[1] >= 0);
    close(listening);
}

static void fill_with(unsigned char *at, size_t length, unsigned seed) {
    for (size_t place = 0; place < length; place++)
        at[place] = (unsigned char)((seed += 2654435761u) >> 24);
}

/* Receives all of a message; the bytes that came. */
static size_t whole(int fd, size_t piece) {
    size_t all = 0;
    for (;;) {
        struct iovec part = {got + all, piece < MOST - all ? piece : MOST - all};
        struct msghdr header;
        memset(&header, 0, sizeof header);
        header.msg_iov = &part;
        header.msg_iovlen = 1;
        ssize_t now = recvmsg(fd, &header, 0);
        CHECK(now > 0);
        all += now;
        if (header.msg_flags & MSG_EOR)
            return all;
    }
}

static void passes(int ends[2], size_t length, size_t piece) {
    fill_with(sent, length, (unsigned)(length + piece));
    CHECK(send(ends[0], sent, length, 0) == (ssize_t)length);
    CHECK(whole(ends[1], piece) == length && memcmp(sent, got, length) == 0);
}

/* ---- what is sent arrives, whatever its size and its parts ---- */

static const size_t lengths[] = {1, 4095, 4096, 4097, 9000, 65536, 200000, 262143, 262144, 262145, 300000};

static void sizes(void) {
    int ends[2];
    large_pair(ends);
    for (size_t at = 0; at < sizeof lengths / sizeof *lengths; at++) {
        passes(ends, lengths[at], MOST);
        passes(ends, lengths[at], 5000);
    }
    /* Many parts on both sides, and a look first. */
    struct iovec out[1024], in[1024];
    fill_with(sent, 102400, 7);
    memset(got, 0, 102400);
    for (int at = 0; at < 1024; at++) {
        out[at] = (struct iovec){sent + 100 * at, 100};
        in[at] = (struct iovec){got + 200 * at, at % 2 ? 0 : 200};
    }
    CHECK(writev(ends[0], out, 1024) == 102400);
    CHECK(recv(ends[1], got, MOST, MSG_PEEK) == 102400 && memcmp(sent, got, 102400) == 0);
    memset(got, 0, MOST);
    CHECK(readv(ends[1], in, 1024) == 102400);
    for (int at = 0; at < 512; at++)
        CHECK(memcmp(sent + 200 * at, got + 400 * at, 200) == 0);
}

/* ---- bad addresses ---- */

static void addresses(void) {
    int ends[2];
    large_pair(ends);
    unsigned char *edge = mmap(NULL, 32 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(edge != MAP_FAILED && mprotect(edge + 16 * PAGE, 16 * PAGE, PROT_NONE) == 0);
    FAILS(send(ends[0], edge + 15 * PAGE, 2 * PAGE, 0), EFAULT);
    FAILS(send(ends[0], edge + 20 * PAGE, 2 * PAGE, 0), EFAULT);
    struct iovec parts[2] = {{edge, 2 * PAGE}, {edge + 15 * PAGE, 2 * PAGE}};
    FAILS(writev(ends[0], parts, 2), EFAULT);
    FAILS(send(ends[0], (void *)8, 65536, 0), EFAULT);
    /* Nothing of those has left. */
    passes(ends, 10000, MOST);
    /* Where there is no room, the message is lost, and the next one comes. */
    CHECK(send(ends[0], sent, 4 * PAGE, 0) == 4 * PAGE);
    FAILS(recv(ends[1], edge + 14 * PAGE, 4 * PAGE, 0), EFAULT);
    CHECK(send(ends[0], sent, 4 * PAGE, 0) == 4 * PAGE);
    FAILS(readv(ends[1], parts + 1, 1), EFAULT);
    CHECK(whole(ends[1], MOST) == 2 * PAGE);
    const unsigned char *fixed = mmap(NULL, 4 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(send(ends[0], sent, 4 * PAGE, 0) == 4 * PAGE);
    FAILS(recv(ends[1], (void *)fixed, 4 * PAGE, 0), EFAULT);
    passes(ends, 70000, MOST);
}

/* ---- processes that share a socket ---- */

/* Sends messages of one byte's value each, for ever or so many. */
static void chatter(int fd, int byte, int count) {
    memset(sent, byte, 65536);
    for (int at = 0; count == 0 || at < count; at++)
        if (send(fd, sent, 8192 + at * 977 % 50000, 0) < 0)
            _exit(1);
}

static int is_whole(size_t length) {
    for (size_t at = 1; at < length; at++)
        if (got[at] != got[0])
            return 0;
    return 1;
}

/* Parent and child had one piece of memory; each has its own now. Two read as well. */
static void forks(void) {
    enum { COUNT = 300 };
    int ends[2], way[2];
    large_pair(ends);
    passes(ends, 65536, MOST);
    CHECK(pipe(way) == 0);
    for (int child = 0; child < 2; child++)
        if (fork() == 0) {
            chatter(ends[0], 'a' + child, COUNT);
            _exit(0);
        }
    for (int child = 0; child < 2; child++)
        if (fork() == 0) {
            close(ends[0]);
            for (ssize_t length; (length = recv(ends[1], got, MOST, 0)) > 0;) {
                CHECK(got[0] == 'a' || got[0] == 'b' || got[0] == 'c');
                CHECK(is_whole(length) && write(way[1], got, 1) == 1);
            }
            _exit(0);
        }
    close(way[1]);
    chatter(ends[0], 'c', COUNT);
    for (int child = 0; child < 2; child++)
        CHECK(wait(NULL) > 0);
    shutdown(ends[0], SHUT_WR);
    int count = 0, status;
    for (char byte; read(way[0], &byte, 1) == 1;)
        count++;
    CHECK(count == 3 * COUNT);
    while (wait(&status) > 0)
        CHECK(status == 0);
}

/* Says that nothing follows; what fills the way there is read first. */
static void end(int ends[2]) {
    while (send(ends[0], "end", 3, MSG_DONTWAIT) != 3) {
        CHECK(errno == EAGAIN && is_whole(whole(ends[1], MOST)));
    }
}

/* Whoever is killed in the midst of a send has sent all of a message or nothing. */
static void killed(void) {
    int ends[2];
    large_pair(ends);
    for (int round = 0; round < 30; round++) {
        pid_t child = fork();
        if (child == 0)
            chatter(ends[0], 'x', 0);
        struct timespec time = {0, 200000L * (round % 10) + 1000000};
        for (int at = 0; at < 1 + round % 3; at++) {
            CHECK(is_whole(whole(ends[1], MOST)));
        }
        nanosleep(&time, NULL);
        CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
        end(ends);
        size_t length;
        do {
            length = whole(ends[1], MOST);
            CHECK(is_whole(length) || (length == 3 && memcmp(got, "end", 3) == 0));
        } while (length != 3);
    }
    /* And whoever is killed in the midst of a receive takes no more than a message with it. */
    pid_t child = fork();
    if (child == 0)
        for (;;)
            recv(ends[1], got, MOST, 0);
    chatter(ends[0], 'y', 50);
    CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
    end(ends);
    while (whole(ends[1], MOST) != 3) {
    }
}

/* ---- messages that lie ready for who reads next ---- */

static int is_readable(int fd) {
    struct pollfd entry = {fd, POLLIN, 0};
    return poll(&entry, 1, 0);
}

/* Waits until a message is there, which lies ready for this process, because it has read before. */
static void arrives(int ends[2], const char *text) {
    struct pollfd entry = {ends[1], POLLIN, 0};
    CHECK(send(ends[0], text, strlen(text), 0) == (ssize_t)strlen(text));
    CHECK(poll(&entry, 1, 5000) == 1);
    /* Time to become more than readable. */
    usleep(1000);
}

static void reads(int fd, int flags, size_t room, const char *text) {
    memset(got, 0, 100);
    CHECK(recv(fd, got, room, flags) == (ssize_t)strlen(text) && memcmp(got, text, strlen(text)) == 0);
}

/* A socket by which a first message has come. */
static void begun(int ends[2]) {
    large_pair(ends);
    arrives(ends, "first");
    reads(ends[1], 0, MOST, "first");
    CHECK(is_readable(ends[1]) == 0);
}

static void offers(void) {
    enum { RECVRCVINFO = 32, RCVINFO = 3 };
    int ends[2], on = 1, waiting;
    begun(ends);
    for (int round = 0; round < 50; round++) {
        arrives(ends, "one");
        if (round % 2)
            reads(ends[1], MSG_DONTWAIT, 100, "one");
        else
            reads(ends[1], 0, 100, "one");
        CHECK(is_readable(ends[1]) == 0);
        FAILS(recv(ends[1], got, 1, MSG_DONTWAIT), EAGAIN);
    }
    /* What comes behind it is seen, and read after it. */
    arrives(ends, "one");
    arrives(ends, "two");
    arrives(ends, "three");
    reads(ends[1], 0, 100, "one");
    CHECK(is_readable(ends[1]) == 1);
    reads(ends[1], 0, 100, "two");
    arrives(ends, "four");
    CHECK(is_readable(ends[1]) == 1);
    reads(ends[1], 0, 100, "three");
    reads(ends[1], 0, 100, "four");
    CHECK(is_readable(ends[1]) == 0);
    /* In pieces, and looked at. */
    arrives(ends, "pieces");
    reads(ends[1], MSG_PEEK, 100, "pieces");
    CHECK(ioctl(ends[1], FIONREAD, &waiting) == 0 && waiting == 6);
    reads(ends[1], 0, 3, "pie");
    CHECK(is_readable(ends[1]) == 1);
    reads(ends[1], 0, 100, "ces");
    CHECK(is_readable(ends[1]) == 0);
    /* An option that is set while it lies there. */
    arrives(ends, "told");
    CHECK(setsockopt(ends[1], SCTP, RECVRCVINFO, &on, sizeof on) == 0);
    for (int round = 0; round < 2; round++) {
        char control[256];
        struct iovec part = {got, 100};
        struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        if (round == 1)
            arrives(ends, "told");
        CHECK(recvmsg(ends[1], &header, 0) == 4 && header.msg_flags == MSG_EOR);
        struct cmsghdr *info = CMSG_FIRSTHDR(&header);
        CHECK(info != NULL && info->cmsg_level == SCTP && info->cmsg_type == RCVINFO);
    }
    /* No room for what is told. */
    arrives(ends, "told");
    char few[4];
    struct iovec part = {got, 100};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = few, .msg_controllen = sizeof few};
    CHECK(recvmsg(ends[1], &header, 0) == 4 && header.msg_flags == (MSG_EOR | MSG_CTRUNC));
    /* A bad address. */
    arrives(ends, "lost");
    FAILS(recv(ends[1], (void *)8, 100, 0), EFAULT);
    arrives(ends, "found");
    reads(ends[1], 0, 100, "found");
    /* The end comes behind it. */
    arrives(ends, "last");
    CHECK(shutdown(ends[0], SHUT_WR) == 0);
    usleep(20000);
    reads(ends[1], 0, 100, "last");
    CHECK(recv(ends[1], got, 100, 0) == 0);
}

/* What was taken is read, and what only lay there is not: a socket that is closed says so to its peer. */
static void offers_closed(void) {
    int ends[2];
    begun(ends);
    arrives(ends, "taken");
    reads(ends[1], 0, 100, "taken");
    CHECK(close(ends[1]) == 0);
    CHECK(recv(ends[0], got, 100, 0) == 0);
    begun(ends);
    arrives(ends, "left");
    CHECK(close(ends[1]) == 0);
    FAILS(recv(ends[0], got, 100, 0), ECONNRESET);
}

/* It lies ready for one process, and another reads it. */
static void offers_shared(void) {
    int ends[2], status;
    begun(ends);
    for (int round = 0; round < 30; round++) {
        arrives(ends, "shared");
        pid_t child = fork();
        if (child == 0) {
            reads(ends[1], MSG_DONTWAIT, 100, "shared");
            FAILS(recv(ends[1], got, 100, MSG_DONTWAIT), EAGAIN);
            _exit(0);
        }
        CHECK(waitpid(child, &status, 0) == child && status == 0);
        CHECK(is_readable(ends[1]) == 0);
        FAILS(recv(ends[1], got, 100, MSG_DONTWAIT), EAGAIN);
        arrives(ends, "own");
        reads(ends[1], 0, 100, "own");
    }
}

static int pair_of_threads[2];
static _Atomic int seen[4096];

static void *takes(void *unused) {
    uint32_t number;
    while (recv(pair_of_threads[1], &number, sizeof number, 0) == sizeof number && number < 4096)
        seen[number]++;
    return unused;
}

/* Several threads read one socket: each message is read once. */
static void offers_threads(void) {
    pthread_t threads[3];
    uint32_t number = 0, end = 4096;
    large_pair(pair_of_threads);
    for (int at = 0; at < 3; at++)
        CHECK(pthread_create(&threads[at], NULL, takes, NULL) == 0);
    for (; number < 4096; number++) {
        CHECK(send(pair_of_threads[0], &number, sizeof number, 0) == sizeof number);
        if (number % 64 == 0)
            usleep(1000);
    }
    for (int at = 0; at < 3; at++)
        CHECK(send(pair_of_threads[0], &end, sizeof end, 0) == sizeof end);
    for (int at = 0; at < 3; at++)
        CHECK(pthread_join(threads[at], NULL) == 0);
    for (number = 0; number < 4096; number++)
        CHECK(seen[number] == 1);
}

/* ---- limits of the program's, which leave no memory to share ---- */

static void limits(void) {
    int ends[2];
    /* A file may not have a byte; who tries is sent SIGXFSZ. */
    struct rlimit none = {0, 0};
    CHECK(setrlimit(RLIMIT_FSIZE, &none) == 0);
    large_pair(ends);
    passes(ends, 65536, MOST);
    passes(ends, 300000, 9000);
    pid_t child = fork();
    if (child == 0) {
        /* No room for another mapping. */
        CHECK(setrlimit(RLIMIT_AS, &none) == 0);
        passes(ends, 65536, MOST);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

/* ---- programs that do not keep to what was agreed ---- */

/* A request's header; see crates/esock-sockets/src/protocol.rs. */
struct request {
    uint32_t body;
    uint16_t op, unused;
    uint64_t socket;
    int32_t args[4];
    uint32_t shared, rest;
};
enum { HELLO = 1, SEND = 10, RECV = 11, SYNC = 15 };

static int broker(void) {
    struct sockaddr_un name;
    const char *text = getenv("ESOCK_BROKER");
    memset(&name, 0, sizeof name);
    name.sun_family = AF_UNIX;
    CHECK(text != NULL);
    memcpy(name.sun_path + 1, text, strlen(text));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(connect(fd, (void *)&name, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(text)) == 0);
    struct timeval limit = {5, 0};
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    return fd;
}

/* Sends a request, and descriptors with it. */
static void ask(int fd, const struct request *request, const int *passed, int count) {
    char control[CMSG_SPACE(8 * sizeof(int))];
    struct iovec part = {(void *)request, sizeof *request};
    struct msghdr header;
    memset(&header, 0, sizeof header);
    memset(control, 0, sizeof control);
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    if (count > 0) {
        header.msg_control = control;
        header.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_len = CMSG_LEN(count * sizeof(int));
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        memcpy(CMSG_DATA(rights), passed, count * sizeof(int));
    }
    CHECK(sendmsg(fd, &header, MSG_NOSIGNAL) == (ssize_t)sizeof *request);
}

/* The result of a reply without a body; -1000 if the broker has hung up. */
static int answer(int fd) {
    uint32_t words[10];
    ssize_t length = recv(fd, words, sizeof words, MSG_WAITALL);
    CHECK(length >= 0 || errno == ECONNRESET);
    if (length <= 0)
        return -1000;
    CHECK(length == sizeof words);
    if (words[0] > 0 && words[0] < 4096)
        CHECK(recv(fd, got, words[0], MSG_WAITALL) == (ssize_t)words[0]);
    return (int)words[1];
}

static int version;

/* A connection that has passed descriptors on. */
static int greeted(const int *passed, int count) {
    for (;;) {
        int fd = broker();
        struct request hello = {.op = HELLO, .args = {version}};
        ask(fd, &hello, passed, count);
        if (answer(fd) >= 0)
            return fd;
        close(fd);
        version++;
        CHECK(version < 1000);
    }
}

static int memory(unsigned flags, size_t length, int seals) {
    int fd = memfd_create("test", flags | MFD_ALLOW_SEALING);
    if (fd >= 0) {
        CHECK(ftruncate(fd, length) == 0);
        CHECK(fcntl(fd, F_ADD_SEALS, seals) == 0);
    }
    return fd;
}

/* The connection's broker is asked about data in memory that it cannot have; it hangs up, and only there. */
static void refused(const int *passed, int count, uint32_t shared) {
    int fd = greeted(passed, count);
    struct request send = {.op = SEND, .socket = 77, .shared = shared};
    ask(fd, &send, NULL, 0);
    CHECK(answer(fd) == -1000);
    close(fd);
    for (int at = 0; at < count; at++)
        close(passed[at]);
}

static void hostile(void) {
    enum { SEALS = F_SEAL_SHRINK | F_SEAL_GROW };
    int ends[2], way[2];
    large_pair(ends);
    struct request sync = {.op = SYNC};
    refused(NULL, 0, 1);
    CHECK(pipe(way) == 0);
    refused(way, 2, 100);
    int file = open("/proc/self/exe", O_RDONLY);
    refused(&file, 1, 100);
    /* It could be made smaller under the broker's eyes. */
    int unsealed = memory(0, 65536, F_SEAL_GROW);
    refused(&unsealed, 1, 100);
    int empty = memory(0, 0, SEALS);
    refused(&empty, 1, 1);
    int vast = memory(0, (size_t)1 << 40, SEALS);
    refused(&vast, 1, 100);
    int fixed = memory(0, 65536, SEALS | F_SEAL_WRITE);
    refused(&fixed, 1, 100);
    /* Pages of which there are none: whoever touches one is killed. */
    int huge = memory(MFD_HUGETLB, 2 << 20, SEALS);
    if (huge >= 0)
        refused(&huge, 1, 100);
    int small = memory(0, 5000, SEALS);
    refused(&small, 1, 5001);
    int again = memory(0, 5000, SEALS);
    refused(&again, 1, UINT32_MAX);
    /* Much of it, more than are looked at, and one of them can be used. */
    int many[8];
    for (int at = 0; at < 8; at++)
        many[at] = at == 1 ? memory(0, 5000, SEALS) : open("/dev/null", O_RDONLY);
    int fd = greeted(many, 8);
    struct request send = {.op = SEND, .socket = 77, .shared = 5000};
    ask(fd, &send, NULL, 0);
    CHECK(answer(fd) == -EBADF);
    /* Later descriptors are nobody's. */
    ask(fd, &sync, many, 8);
    CHECK(answer(fd) == 0);
    /* Lengths that are none: of the name, and of control messages. */
    struct request bad = {.op = SEND, .socket = 77, .shared = 5000, .args = {0, 6000, -1}};
    ask(fd, &bad, NULL, 0);
    CHECK(answer(fd) == -EINVAL);
    /* Its pages go away; they are zeroes then. */
    CHECK(fallocate(many[1], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 5000) == 0);
    ask(fd, &send, NULL, 0);
    CHECK(answer(fd) == -EBADF);
    close(fd);
    /* Nonsense, and requests that end in the midst. */
    for (int round = 0; round < 200; round++) {
        fd = round % 2 ? broker() : greeted(NULL, 0);
        fill_with(sent, 400, round);
        if (round % 4 > 1)
            sent[2] = sent[3] = sent[5] = 0, sent[4] %= 24;
        (void)!write(fd, sent, 1 + round * 2);
        close(fd);
    }
    passes(ends, 65536, MOST);
}

/* Whoever is offered messages writes there what it likes. It may lose its own; the broker does not mind. */
static void offers_hostile(void) {
    enum { SEALS = F_SEAL_SHRINK | F_SEAL_GROW, OFFER = 256 << 10, LENGTH = OFFER + (76 << 10), WORDS = 600 };
    int ends[2];
    struct sockaddr_un name;
    socklen_t length = sizeof name;
    unsigned long long socket_number;
    large_pair(ends);
    CHECK(syscall(SYS_getsockname, ends[1], &name, &length) == 0);
    CHECK(sscanf(name.sun_path + 1, "esock/s/%16llx", &socket_number) == 1);
    for (int round = 0; round < 4; round++) {
        /* One is too small for an offer's data, and one ends in its midst. */
        size_t size = round == 0 ? OFFER : round == 1 ? OFFER + 8192 : LENGTH;
        int passed = memory(0, size, SEALS);
        volatile uint64_t *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, passed, 0);
        CHECK(at != MAP_FAILED);
        int fd = greeted(&passed, 1);
        struct request read = {.op = RECV, .socket = socket_number, .args = {MSG_DONTWAIT, 65536, 0, 1}};
        for (int time = 0; time < 40; time++) {
            ask(fd, &read, NULL, 0);
            answer(fd);
            CHECK(send(ends[0], sent, 3000, MSG_DONTWAIT) == 3000);
            for (int word = OFFER / 8; size > OFFER && word < OFFER / 8 + WORDS; word++)
                at[word] = round == 2 ? ~0ull : (uint64_t)word * 0x9e3779b97f4a7c15 + time;
            if (time % 3 == 0)
                CHECK(fallocate(passed, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, size) == 0);
            while (recv(ends[1], got, MOST, MSG_DONTWAIT) > 0) {
            }
        }
        CHECK(send(ends[0], sent, 3000, MSG_DONTWAIT) == 3000);
        close(fd);
        munmap((void *)at, size);
        close(passed);
    }
    usleep(10000);
    while (recv(ends[1], got, MOST, MSG_DONTWAIT) > 0) {
    }
    passes(ends, 65536, MOST);
}

int main(int count, char **words) {
    static const struct named cases[] = {
        {"sizes", sizes},   {"large-addresses", addresses}, {"large-forks", forks},
        {"killed", killed}, {"no-memory", limits},          {"hostile", hostile},
        {"offers", offers}, {"offers-closed", offers_closed}, {"offers-shared", offers_shared},
        {"offers-threads", offers_threads}, {"offers-hostile", offers_hostile},
    };
    return run_named(cases, sizeof cases / sizeof *cases, count, words);
}
