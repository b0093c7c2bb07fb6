// A program with strings on it: makes the socket calls that it is told to make, and is the network as well, by way of
// a TUN device. It knows nothing of esock.
//
// A line of commands on standard input, separated by `;`, is carried out at once, one after the other:
//   packet HEX              a packet arrives
//   wait NS                 until this moment of the monotonic clock
//   CALL ARGUMENTS          a call
// For each it says `done NS RESULT ERRNO [HEX]`. What leaves is told as `sent NS HEX`.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int tun;
static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;
static unsigned char buffer[1 << 20];

static long long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void hex(const unsigned char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        printf("%02x", bytes[i]);
}

// What leaves, as it leaves.
static void *watch(void *nothing)
{
    static unsigned char packet[1 << 16];
    for (;;) {
        ssize_t length = read(tun, packet, sizeof packet);
        if (length < 0)
            return nothing;
        long long at = now();
        pthread_mutex_lock(&output);
        printf("sent %lld ", at);
        hex(packet, length);
        putchar('\n');
        fflush(stdout);
        pthread_mutex_unlock(&output);
    }
}

// A device that somebody has just opened drops all that is to leave, without a word, until the kernel has noticed.
static int opens(const char *device)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0), yes = 1;
    struct sockaddr_in all = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = INADDR_BROADCAST};
    struct pollfd left = {.fd = tun, .events = POLLIN};
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &yes, sizeof yes) < 0
        || setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, strlen(device)) < 0)
        return 0;
    do
        sendto(fd, "", 1, 0, (struct sockaddr *)&all, sizeof all);
    while (poll(&left, 1, 5) == 0);
    close(fd);
    return 1;
}

static size_t bytes_of(const char *text, unsigned char *out, size_t most)
{
    size_t count = 0;
    unsigned byte;
    while (text && count < most && sscanf(text + 2 * count, "%2x", &byte) == 1)
        out[count++] = byte;
    return count;
}

static socklen_t name_of(char **words, struct sockaddr_storage *name)
{
    memset(name, 0, sizeof *name);
    struct sockaddr_in *v4 = (struct sockaddr_in *)name;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)name;
    if (inet_pton(AF_INET, words[0], &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(atoi(words[1]));
        return sizeof *v4;
    }
    inet_pton(AF_INET6, words[0], &v6->sin6_addr);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(atoi(words[1]));
    return sizeof *v6;
}

static void carry_out(char *command)
{
    char *words[8] = {0}, *save = NULL;
    int count = 0;
    for (char *word = strtok_r(command, " \n", &save); word && count < 8; word = strtok_r(NULL, " \n", &save))
        words[count++] = word;
    if (count == 0)
        return;
    const char *call = words[0];
    int fd = count > 1 ? atoi(words[1]) : -1;
    long result = -2;
    socklen_t told = 0;
    struct sockaddr_storage name;
    errno = 0;
    if (!strcmp(call, "packet")) {
        size_t length = bytes_of(words[1], buffer, sizeof buffer);
        result = write(tun, buffer, length);
    } else if (!strcmp(call, "wait")) {
        long long until = atoll(words[1]);
        struct timespec t = {until / 1000000000, until % 1000000000};
        result = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
    } else if (!strcmp(call, "socket")) {
        result = socket(fd, atoi(words[2]), IPPROTO_SCTP);
    } else if (!strcmp(call, "bind")) {
        socklen_t length = name_of(words + 2, &name);
        result = bind(fd, (struct sockaddr *)&name, length);
    } else if (!strcmp(call, "connect")) {
        socklen_t length = name_of(words + 2, &name);
        result = connect(fd, (struct sockaddr *)&name, length);
    } else if (!strcmp(call, "listen")) {
        result = listen(fd, atoi(words[2]));
    } else if (!strcmp(call, "accept")) {
        result = accept(fd, NULL, NULL);
    } else if (!strcmp(call, "nonblock")) {
        result = fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    } else if (!strcmp(call, "write")) {
        memset(buffer, 'x', sizeof buffer);
        result = send(fd, buffer, atoi(words[2]), MSG_NOSIGNAL);
    } else if (!strcmp(call, "sendto")) {
        memset(buffer, 'x', sizeof buffer);
        socklen_t length = name_of(words + 3, &name);
        result = sendto(fd, buffer, atoi(words[2]), MSG_NOSIGNAL, (struct sockaddr *)&name, length);
    } else if (!strcmp(call, "read")) {
        result = recv(fd, buffer, atoi(words[2]), 0);
    } else if (!strcmp(call, "poll")) {
        struct pollfd asked = {.fd = fd, .events = POLLIN};
        result = poll(&asked, 1, 0);
    } else if (!strcmp(call, "shutdown")) {
        result = shutdown(fd, atoi(words[2]));
    } else if (!strcmp(call, "close")) {
        result = close(fd);
    } else if (!strcmp(call, "setsockopt")) {
        told = bytes_of(words[4], buffer, sizeof buffer);
        result = setsockopt(fd, atoi(words[2]), atoi(words[3]), buffer, told);
        told = 0;
    } else if (!strcmp(call, "getsockopt")) {
        told = bytes_of(words[4], buffer, sizeof buffer);
        result = getsockopt(fd, atoi(words[2]), atoi(words[3]), buffer, &told);
    }
    int error = result == -1 ? errno : 0;
    long long at = now();
    pthread_mutex_lock(&output);
    printf("done %lld %ld %d ", at, result, error);
    hex(buffer, told);
    putchar('\n');
    fflush(stdout);
    pthread_mutex_unlock(&output);
}

int main(int count, char **arguments)
{
    if (count != 2) {
        fprintf(stderr, "usage: puppet DEVICE\n");
        return 2;
    }
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", arguments[1]);
    tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (tun < 0 || ioctl(tun, TUNSETIFF, &request) < 0) {
        perror("TUN");
        return 1;
    }
    if (!opens(arguments[1])) {
        perror("the device does not open");
        return 1;
    }
    // Before there is a second thread that speaks.
    printf("ready\n");
    fflush(stdout);
    pthread_t watcher;
    if (pthread_create(&watcher, NULL, watch, NULL) != 0)
        return 1;
    char *line = NULL, *save = NULL;
    size_t room = 0;
    while (getline(&line, &room, stdin) > 0)
        for (char *command = strtok_r(line, ";", &save); command; command = strtok_r(NULL, ";", &save))
            carry_out(command);
    return 0;
}
