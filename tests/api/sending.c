/* Ways of sending: to all, to new peers, on default streams, for a while. */
#include "check.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <unistd.h>

enum { LARGE = 1000, LAST = -1 };

static char data[65536];

/* Receives until so many bytes of messages have come. */
static void drain(int fd, long wanted)
{
    while (wanted > 0 && readable(fd, 5000)) {
        ssize_t got = recv(fd, data, sizeof data, MSG_DONTWAIT);
        wanted -= got > 0 ? got : 0;
    }
    IS(wanted, 0);
}

/* A message whose lifetime passes before it can be sent is given up, and that is told. */
static void check_lifetime(void)
{
    struct ends ends;
    struct sctp_sndrcvinfo late = {.sinfo_timetolive = 100, .sinfo_context = 77, .sinfo_stream = 2,
                                   .sinfo_flags = SCTP_PR_SCTP_TTL};
    struct sctp_status window = {0};
    struct sctp_prstatus status = {.sprstat_policy = SCTP_PR_SCTP_ALL};
    struct sctp_send_failed_event *failed;
    receive_buffer = 4096;
    ends = associate(AF_INET, SOCK_SEQPACKET);
    receive_buffer = 0;
    subscribe(ends.client, SCTP_SEND_FAILED_EVENT);
    /* As much as the window holds, and one more that probes it, so that nothing else can leave. */
    struct sctp_sndinfo full = {.snd_assoc_id = ends.at_client};
    window.sstat_assoc_id = ends.at_client;
    WELL(GET(ends.client, SCTP_STATUS, window));
    IS(send_with(ends.client, NULL, data, window.sstat_rwnd, SCTP_SNDINFO, &full, sizeof full), window.sstat_rwnd);
    usleep(300000);
    IS(send_with(ends.client, NULL, data, 1000, SCTP_SNDINFO, &full, sizeof full), 1000);
    late.sinfo_assoc_id = ends.at_client;
    IS(send_with(ends.client, NULL, "late", 4, SCTP_SNDRCV, &late, sizeof late), 4);
    usleep(300000);
    drain(ends.server, window.sstat_rwnd + 1000);
    failed = next_event(ends.client, SCTP_SEND_FAILED_EVENT, sizeof *failed + 4);
    IS(failed->ssf_flags, SCTP_DATA_UNSENT);
    IS(failed->ssf_error, 0);
    IS(failed->ssf_assoc_id, ends.at_client);
    IS(failed->ssfe_info.snd_sid, 2);
    IS(failed->ssfe_info.snd_context, 77);
    IS(failed->ssfe_info.snd_flags, 3);
    HOLDS(!memcmp(failed->ssf_data, "late", 4));
    status.sprstat_assoc_id = ends.at_client;
    WELL(GET(ends.client, SCTP_PR_ASSOC_STATUS, status));
    IS(status.sprstat_abandoned_unsent, 1);
    IS(status.sprstat_abandoned_sent, 0);
    part(&ends);
}

/* SCTP_SENDALL, and SCTP_ADDR_OVER. */
static void check_flags(void)
{
    struct ends ends = associate(AF_INET, SOCK_SEQPACKET);
    struct sockaddr_storage peer = loopback(AF_INET, 1, port_of(ends.listener));
    struct sctp_sndinfo all = {.snd_flags = SCTP_SENDALL}, over = {.snd_flags = SCTP_ADDR_OVER};
    int second = bound(AF_INET, SOCK_SEQPACKET);
    WELL(connect(second, (struct sockaddr *)&peer, length_of(&peer)));
    usleep(300000);
    IS(get_int(ends.server, IPPROTO_SCTP, SCTP_GET_ASSOC_NUMBER), 2);
    IS(send_with(ends.server, NULL, "all", 3, SCTP_SNDINFO, &all, sizeof all), 3);
    drain(ends.client, 3);
    drain(second, 3);
    IS(send_with(ends.client, &peer, "over", 4, SCTP_SNDINFO, &over, sizeof over), 4);
    drain(ends.server, 4);
    close(second);
    part(&ends);
}

/* Reads numbered messages up to the last: each comes once. Linux may have begun with one before it found that the next
 * association has no room, and whoever tries again sends that one twice. */
static int read_to_last(int fd)
{
    for (int next = 0, number; readable(fd, 20000); next += number == next) {
        IS(recv(fd, data, sizeof data, MSG_DONTWAIT), LARGE);
        memcpy(&number, data, sizeof number);
        if (number == LAST)
            return next;
        IS(number, next - (on_kernel && number == next - 1));
    }
    return -1;
}

static ssize_t send_to_all(int fd, int number, int flags)
{
    struct sctp_sndinfo all = {.snd_flags = SCTP_SENDALL};
    char space[CMSG_SPACE(sizeof all)] = {0}, message[LARGE] = {0};
    struct iovec part = {message, sizeof message};
    struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    struct cmsghdr *one = CMSG_FIRSTHDR(&head);
    one->cmsg_level = IPPROTO_SCTP;
    one->cmsg_type = SCTP_SNDINFO;
    one->cmsg_len = CMSG_LEN(sizeof all);
    memcpy(CMSG_DATA(one), &all, sizeof all);
    memcpy(message, &number, sizeof number);
    return sendmsg(fd, &head, flags | MSG_NOSIGNAL);
}

static int sender, count;

/* Sends some more, waiting for room, and the last. */
static void *send_rest(void *unused)
{
    for (int k = 0; k < 5; k++)
        IS(send_to_all(sender, count + k, 0), LARGE);
    IS(send_to_all(sender, LAST, 0), LARGE);
    return unused;
}

/* SCTP_SENDALL while one of two does not read: what is not sent to all is sent to none, and who waits sends it once. */
static void check_full(int slow)
{
    int peers[2], size = 30000, small = 4096;
    pthread_t thread;
    sender = bound(AF_INET, SOCK_SEQPACKET);
    struct sockaddr_storage name = loopback(AF_INET, 1, port_of(sender));
    WELL(setsockopt(sender, SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
    WELL(listen(sender, 5));
    for (int k = 0; k < 2; k++) {
        peers[k] = bound(AF_INET, SOCK_STREAM);
        if (k == slow)
            WELL(setsockopt(peers[k], SOL_SOCKET, SO_RCVBUF, &small, sizeof small));
        WELL(connect(peers[k], (struct sockaddr *)&name, length_of(&name)));
    }
    while (get_int(sender, IPPROTO_SCTP, SCTP_GET_ASSOC_NUMBER) < 2)
        usleep(1000);
    for (count = 0; count < 1000 && send_to_all(sender, count, MSG_DONTWAIT) == LARGE; count++)
        usleep(1000);
    HOLDS(count > 5 && count < 1000 && errno == EAGAIN);
    FAILS(send_to_all(sender, count, MSG_DONTWAIT), EAGAIN);
    IS(pthread_create(&thread, NULL, send_rest, NULL), 0);
    usleep(100000);
    IS(read_to_last(peers[slow]), count + 5);
    IS(read_to_last(peers[!slow]), count + 5);
    IS(pthread_join(thread, NULL), 0);
    for (int k = 0; k < 2; k++)
        close(peers[k]);
    close(sender);
}

/* A name of no bytes is one, for `sendto`; for `sendmsg` it is none. */
static void check_no_name(int type)
{
    struct ends ends = associate(AF_INET, type);
    struct sctp_sndinfo info = {.snd_assoc_id = ends.at_client};
    struct sctp_event_subscribe none = {0};
    struct sockaddr_storage peer = loopback(AF_INET, 1, port_of(ends.listener));
    struct iovec part_of = {"x", 1};
    struct msghdr head = {.msg_name = &peer, .msg_iov = &part_of, .msg_iovlen = 1};
    int fd = socket(AF_INET, type, IPPROTO_SCTP);
    WELL(SET(ends.client, SCTP_EVENTS, none));
    WELL(SET(ends.client, SCTP_DEFAULT_SNDINFO, info));
    FAILS(sendto(fd, "x", 1, MSG_NOSIGNAL, (struct sockaddr *)&peer, 0), EINVAL);
    FAILS(sendto(ends.client, "x", 1, MSG_NOSIGNAL, (struct sockaddr *)&peer, 0), EINVAL);
    FAILS(sendto(ends.listener, "x", 1, MSG_NOSIGNAL, (struct sockaddr *)&peer, 0),
          type == SOCK_STREAM ? EPIPE : EINVAL);
    FAILS(sendto(fd, "x", 1, MSG_NOSIGNAL, NULL, 0), EPIPE);
    FAILS(sendmsg(fd, &head, MSG_NOSIGNAL), EPIPE);
    if (type == SOCK_STREAM) {
        IS(sendmsg(ends.client, &head, MSG_NOSIGNAL), 1);
        drain(ends.server, 1);
    } else {
        int own = sctp_peeloff(ends.client, ends.at_client);
        IS(sendto(own, "x", 1, MSG_NOSIGNAL, (struct sockaddr *)&peer, 0), 1);
        drain(ends.server, 1);
        close(own);
    }
    close(fd);
    part(&ends);
}

/* A socket bound to 127.0.0.1 and 127.0.0.2. */
static int bound_to_two(int type)
{
    int fd = bound(AF_INET, type);
    struct sockaddr_storage second = loopback(AF_INET, 2, port_of(fd));
    WELL(sctp_bindx(fd, (struct sockaddr *)&second, 1, SCTP_BINDX_ADD_ADDR));
    return fd;
}

/* The next message came from 127.0.0.HOST. Linux sends from 127.0.0.1 to all of the loopback. */
static void comes_from(int fd, int host)
{
    struct sockaddr_in from = {0};
    socklen_t length = sizeof from;
    HOLDS(readable(fd, 5000));
    IS(recvfrom(fd, data, sizeof data, 0, (struct sockaddr *)&from, &length), 4);
    IS(ntohl(from.sin_addr.s_addr), 0x7f000000 + (on_kernel ? 1 : host));
}

/* A message goes over the path that its address says: always from a one-to-one socket, else with SCTP_ADDR_OVER. */
static void check_paths(int type)
{
    int listener = bound_to_two(type), fd = bound_to_two(type), server = listener;
    struct sockaddr_storage peer = loopback(AF_INET, 1, port_of(listener));
    struct sockaddr_storage second = loopback(AF_INET, 2, port_of(listener));
    struct sctp_sndinfo over = {.snd_flags = SCTP_ADDR_OVER};
    struct sctp_paddrinfo path = {0};
    unsigned int ids[2] = {0};
    WELL(listen(listener, 1));
    WELL(connect(fd, (struct sockaddr *)&peer, length_of(&peer)));
    if (type == SOCK_STREAM)
        WELL(server = accept(listener, NULL, NULL));
    if (type == SOCK_SEQPACKET)
        IS(GET(fd, SCTP_GET_ASSOC_ID_LIST, ids), 8);
    for (int tries = 0; tries < 500 && path.spinfo_state != SCTP_ACTIVE; tries++) {
        memcpy(&path.spinfo_address, &second, sizeof second);
        path.spinfo_assoc_id = ids[1];
        if (GET(fd, SCTP_GET_PEER_ADDR_INFO, path) < 0)
            break;
        usleep(10000);
    }
    IS(path.spinfo_state, SCTP_ACTIVE);
    IS(send_with(fd, &second, "over", 4, SCTP_SNDINFO, &over, sizeof over), 4);
    comes_from(server, 2);
    IS(send_with(fd, &peer, "over", 4, SCTP_SNDINFO, &over, sizeof over), 4);
    comes_from(server, 1);
    IS(sendto(fd, "just", 4, 0, (struct sockaddr *)&second, length_of(&second)), 4);
    comes_from(server, type == SOCK_STREAM ? 2 : 1);
    IS(sctp_sendmsg(fd, "call", 4, (struct sockaddr *)&second, length_of(&second), 0, SCTP_ADDR_OVER, 0, 0, 0), 4);
    comes_from(server, 2);
    if (server != listener)
        close(server);
    close(fd);
    close(listener);
}

/* The first message to a peer sets the association up, with what goes with it. */
static void check_beginning(void)
{
    int listener = bound(AF_INET, SOCK_SEQPACKET), fd = bound(AF_INET, SOCK_SEQPACKET);
    struct sockaddr_storage peer = loopback(AF_INET, 1, port_of(listener));
    struct sctp_initmsg init = {.sinit_num_ostreams = 3};
    struct sctp_sndinfo end = {.snd_flags = SCTP_EOF}, beyond = {.snd_sid = 65535};
    struct sctp_status status = {0};
    unsigned int ids[4] = {0};
    WELL(listen(listener, 1));
    FAILS(send_with(fd, NULL, "x", 1, SCTP_INIT, &init, sizeof init), EPIPE);
    FAILS(send_with(fd, &peer, "", 0, SCTP_SNDINFO, &end, sizeof end), EINVAL);
    FAILS(send_with(fd, &peer, "x", 1, SCTP_INIT, &init, 4), EINVAL);
    FAILS(send_with(fd, &peer, "x", 1, SCTP_SNDINFO, &beyond, sizeof beyond), EINVAL);
    IS(get_int(fd, IPPROTO_SCTP, SCTP_GET_ASSOC_NUMBER), 0);
    IS(send_with(fd, &peer, "begin", 5, SCTP_INIT, &init, sizeof init), 5);
    IS(GET(fd, SCTP_GET_ASSOC_ID_LIST, ids), 8);
    status.sstat_assoc_id = ids[1];
    WELL(GET(fd, SCTP_STATUS, status));
    IS(status.sstat_state, SCTP_ESTABLISHED);
    IS(status.sstat_outstrms, 3);
    drain(listener, 5);
    FAILS(connect(fd, (struct sockaddr *)&peer, length_of(&peer)), EISCONN);
    close(fd);
    close(listener);
}

/* Who is accepted when the peer has gone has something to read, and nobody to send to, named or not. */
static void check_ended(void)
{
    int listener = bound(AF_INET, SOCK_STREAM), client = bound(AF_INET, SOCK_STREAM), server;
    struct sockaddr_storage to = loopback(AF_INET, 1, port_of(listener)), peer;
    socklen_t length = sizeof peer;
    WELL(listen(listener, 1));
    WELL(connect(client, (struct sockaddr *)&to, length_of(&to)));
    IS(send(client, "last", 4, 0), 4);
    WELL(close(client));
    WELL(server = accept(listener, (struct sockaddr *)&peer, &length));
    FAILS(sendto(server, "x", 1, MSG_NOSIGNAL, (struct sockaddr *)&peer, length), EPIPE);
    FAILS(send(server, "x", 1, MSG_NOSIGNAL), EPIPE);
    drain(server, 4);
    IS(recv(server, data, sizeof data, 0), 0);
    close(server);
    close(listener);
}

/* What was set for all messages holds for those that say nothing. */
static void check_defaults(int family)
{
    struct ends ends = associate(family, SOCK_STREAM);
    struct sctp_sndinfo info = {.snd_sid = 6, .snd_ppid = htonl(3), .snd_flags = SCTP_UNORDERED};
    struct sctp_event_subscribe io = {.sctp_data_io_event = 1};
    struct sctp_sndrcvinfo got = {0};
    struct sctp_status status = {0};
    struct sockaddr_storage name;
    socklen_t length = sizeof name;
    int flags = 0;
    WELL(SET(ends.client, SCTP_DEFAULT_SNDINFO, info));
    WELL(SET(ends.server, SCTP_EVENTS, io));
    IS(send(ends.client, "plain", 5, 0), 5);
    HOLDS(readable(ends.server, 5000));
    IS(sctp_recvmsg(ends.server, data, sizeof data, (struct sockaddr *)&name, &length, &got, &flags), 5);
    IS(got.sinfo_stream, 6);
    IS(got.sinfo_ppid, htonl(3));
    IS(got.sinfo_flags, SCTP_UNORDERED);
    IS(name.ss_family, family);
    WELL(GET(ends.client, SCTP_STATUS, status));
    IS(status.sstat_primary.spinfo_address.ss_family, family);
    length = sizeof name;
    WELL(getpeername(ends.client, (struct sockaddr *)&name, &length));
    IS(length, length_of(&name));
    FAILS(connect(ends.client, (struct sockaddr *)&name, length), EISCONN);
    part(&ends);
}

/* What is sent to begin an association arrives along with it: that it is there is told first, at either end. */
static void check_order(void)
{
    int server = bound(AF_INET, SOCK_SEQPACKET), client = socket(AF_INET, SOCK_SEQPACKET, IPPROTO_SCTP);
    struct sctp_event_subscribe events = {.sctp_association_event = 1};
    struct sockaddr_storage to = loopback(AF_INET, 1, port_of(server));
    char got[100];
    WELL(SET(server, SCTP_EVENTS, events));
    WELL(SET(client, SCTP_EVENTS, events));
    WELL(listen(server, 1));
    IS(sendto(client, "early", 5, 0, (struct sockaddr *)&to, length_of(&to)), 5);
    for (int end = 0; end < 2; end++) {
        int flags = 0, fd = end ? client : server;
        HOLDS(readable(fd, 3000));
        IS(sctp_recvmsg(fd, got, sizeof got, NULL, NULL, NULL, &flags), sizeof(struct sctp_assoc_change));
        HOLDS(flags & MSG_NOTIFICATION);
    }
    HOLDS(readable(server, 3000));
    IS(recv(server, got, sizeof got, 0), 5);
    close(client);
    close(server);
}

void check_sending(void)
{
    check_order();
    check_lifetime();
    check_flags();
    check_full(0);
    check_full(1);
    check_no_name(SOCK_STREAM);
    check_no_name(SOCK_SEQPACKET);
    check_paths(SOCK_STREAM);
    check_paths(SOCK_SEQPACKET);
    check_beginning();
    check_ended();
    check_defaults(AF_INET);
    check_defaults(AF_INET6);
}
