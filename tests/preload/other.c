/* Transfers without copies, programs that become other users, and what a call costs. */
#include "case.h"

void transfers(void) {
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
void drops(void) {
    if (geteuid() != 0)
        return;
    CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    int ends[2];
    pair(ends);
    say(ends[0], "as another");
    hear(ends[1], "as another");
}

/* Without the key, it is a stranger. */
void stranger(void) {
    if (geteuid() != 0)
        return;
    CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    CHECK(socket(AF_INET, SOCK_STREAM, SCTP) == -1);
    printf("refused: %s\n", strerror(errno));
}

void ping_pong(void) {
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

void plain_pipe(void) {
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
