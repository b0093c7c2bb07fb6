/* Options of sockets that have no association: what they begin with, what they take, what they refuse. */
#include "check.h"

#include <arpa/inet.h>
#include <limits.h>
#include <netinet/ip.h>
#include <stdint.h>
#include <sys/time.h>
#include <unistd.h>

#define MANY(type) ((type) == SOCK_SEQPACKET)

/* An option that is on or off: any other value than 0 is on, too short a value is none. */
static void check_switch(int fd, int option, int begins)
{
    int on = 5;
    long longer = 1;
    IS(get_int(fd, IPPROTO_SCTP, option), begins);
    WELL(SET(fd, option, on));
    IS(get_int(fd, IPPROTO_SCTP, option), 1);
    WELL(set_int(fd, IPPROTO_SCTP, option, 0));
    IS(get_int(fd, IPPROTO_SCTP, option), 0);
    WELL(SET(fd, option, longer));
    IS(get_int(fd, IPPROTO_SCTP, option), 1);
    FAILS(SET_LEN(fd, option, on, 3), EINVAL);
    FAILS(SET_LEN(fd, option, on, 0), EINVAL);
    FAILS(GET_LEN(fd, option, on, 3), EINVAL);
    IS(GET(fd, option, longer), 4);
    WELL(set_int(fd, IPPROTO_SCTP, option, begins));
}

static void check_init(int fd)
{
    struct sctp_initmsg init, old;
    IS(GET(fd, SCTP_INITMSG, old), sizeof old);
    IS(old.sinit_num_ostreams, 10);
    IS(old.sinit_max_instreams, 65535);
    IS(old.sinit_max_attempts, 8);
    IS(old.sinit_max_init_timeo, 60000);
    init = (struct sctp_initmsg){.sinit_num_ostreams = 7};
    WELL(SET(fd, SCTP_INITMSG, init));
    IS(GET(fd, SCTP_INITMSG, init), sizeof init);
    IS(init.sinit_num_ostreams, 7);
    IS(init.sinit_max_instreams, 65535);
    FAILS(SET_LEN(fd, SCTP_INITMSG, init, sizeof init - 1), EINVAL);
    FAILS(SET_LEN(fd, SCTP_INITMSG, init, 0), EINVAL);
    FAILS(GET_LEN(fd, SCTP_INITMSG, init, sizeof init - 1), EINVAL);
    WELL(SET(fd, SCTP_INITMSG, old));
}

static void check_rto(int fd, int type)
{
    struct sctp_rtoinfo rto = {0};
    IS(GET(fd, SCTP_RTOINFO, rto), sizeof rto);
    IS(rto.srto_initial, 3000);
    IS(rto.srto_max, 60000);
    IS(rto.srto_min, 1000);
    rto = (struct sctp_rtoinfo){.srto_initial = 500, .srto_min = 200};
    WELL(SET(fd, SCTP_RTOINFO, rto));
    rto = (struct sctp_rtoinfo){0};
    WELL(GET(fd, SCTP_RTOINFO, rto));
    IS(rto.srto_initial, 500);
    IS(rto.srto_max, 60000);
    IS(rto.srto_min, 200);
    rto = (struct sctp_rtoinfo){.srto_max = 100};
    FAILS(SET(fd, SCTP_RTOINFO, rto), EINVAL);
    rto = (struct sctp_rtoinfo){.srto_min = 60001};
    FAILS(SET(fd, SCTP_RTOINFO, rto), EINVAL);
    FAILS(SET_LEN(fd, SCTP_RTOINFO, rto, sizeof rto - 1), EINVAL);
    FAILS(GET_LEN(fd, SCTP_RTOINFO, rto, sizeof rto - 1), EINVAL);
    rto = (struct sctp_rtoinfo){.srto_assoc_id = 4711};
    FAILS(GET(fd, SCTP_RTOINFO, rto), MANY(type) ? EINVAL : 0);
    rto = (struct sctp_rtoinfo){.srto_assoc_id = SCTP_ALL_ASSOC};
    FAILS(SET(fd, SCTP_RTOINFO, rto), MANY(type) ? EINVAL : 0);
}

static void check_associnfo(int fd, int type)
{
    struct sctp_assocparams info = {0};
    IS(GET(fd, SCTP_ASSOCINFO, info), sizeof info);
    IS(info.sasoc_asocmaxrxt, 10);
    IS(info.sasoc_number_peer_destinations, 0);
    IS(info.sasoc_peer_rwnd, 0);
    IS(info.sasoc_cookie_life, 60000);
    info = (struct sctp_assocparams){.sasoc_asocmaxrxt = 4, .sasoc_cookie_life = 30000};
    WELL(SET(fd, SCTP_ASSOCINFO, info));
    info = (struct sctp_assocparams){0};
    WELL(GET(fd, SCTP_ASSOCINFO, info));
    IS(info.sasoc_asocmaxrxt, 4);
    IS(info.sasoc_cookie_life, 30000);
    FAILS(SET_LEN(fd, SCTP_ASSOCINFO, info, sizeof info + 4), EINVAL);
    FAILS(GET_LEN(fd, SCTP_ASSOCINFO, info, sizeof info - 1), EINVAL);
    info = (struct sctp_assocparams){.sasoc_assoc_id = 4711};
    FAILS(SET(fd, SCTP_ASSOCINFO, info), MANY(type) ? EINVAL : 0);
}

static void check_delayed_sack(int fd, int type)
{
    struct sctp_sack_info info = {0};
    struct sctp_assoc_value old = {0};
    IS(GET(fd, SCTP_DELAYED_SACK, info), sizeof info);
    IS(info.sack_delay, 200);
    IS(info.sack_freq, 2);
    info = (struct sctp_sack_info){.sack_delay = 100, .sack_freq = 4};
    WELL(SET(fd, SCTP_DELAYED_SACK, info));
    IS(GET_LEN(fd, SCTP_DELAYED_SACK, info, sizeof old), sizeof old);
    IS(info.sack_delay, 100);
    WELL(GET(fd, SCTP_DELAYED_SACK, info));
    IS(info.sack_freq, 4);
    WELL(SET(fd, SCTP_DELAYED_SACK, old));
    WELL(GET(fd, SCTP_DELAYED_SACK, info));
    IS(info.sack_delay, 0);
    IS(info.sack_freq, 1);
    old.assoc_value = 150;
    WELL(SET(fd, SCTP_DELAYED_SACK, old));
    WELL(GET(fd, SCTP_DELAYED_SACK, info));
    IS(info.sack_delay, 150);
    info = (struct sctp_sack_info){.sack_delay = 501};
    FAILS(SET(fd, SCTP_DELAYED_SACK, info), EINVAL);
    info = (struct sctp_sack_info){.sack_assoc_id = 4711, .sack_freq = 1};
    FAILS(SET(fd, SCTP_DELAYED_SACK, info), MANY(type) ? EINVAL : 0);
    FAILS(SET_LEN(fd, SCTP_DELAYED_SACK, info, sizeof info - 1), EINVAL);
    FAILS(GET_LEN(fd, SCTP_DELAYED_SACK, info, sizeof info - 1), EINVAL);
}

static void check_values(int fd, int type)
{
    struct sctp_assoc_value value = {0};
    /* SCTP_MAX_BURST and SCTP_MAXSEG, also in their old form. */
    IS(get_int(fd, IPPROTO_SCTP, SCTP_MAX_BURST), 4);
    value.assoc_value = 8;
    WELL(SET(fd, SCTP_MAX_BURST, value));
    IS(get_int(fd, IPPROTO_SCTP, SCTP_MAX_BURST), 8);
    WELL(set_int(fd, IPPROTO_SCTP, SCTP_MAX_BURST, 4));
    value.assoc_value = 0;
    IS(GET(fd, SCTP_MAX_BURST, value), sizeof value);
    IS(value.assoc_value, 4);
    long longer[2] = {0, 7};
    IS(GET(fd, SCTP_MAX_BURST, longer), sizeof longer);
    IS(longer[1], 7);
    FAILS(SET_LEN(fd, SCTP_MAX_BURST, value, 6), EINVAL);
    IS(get_int(fd, IPPROTO_SCTP, SCTP_MAXSEG), 0);
    WELL(set_int(fd, IPPROTO_SCTP, SCTP_MAXSEG, 464));
    FAILS(set_int(fd, IPPROTO_SCTP, SCTP_MAXSEG, 455), EINVAL);
    FAILS(set_int(fd, IPPROTO_SCTP, SCTP_MAXSEG, 65517), EINVAL);
    WELL(set_int(fd, IPPROTO_SCTP, SCTP_MAXSEG, 65516));
    value.assoc_value = 1000;
    WELL(SET(fd, SCTP_MAXSEG, value));
    value.assoc_value = 0;
    WELL(GET(fd, SCTP_MAXSEG, value));
    IS(value.assoc_value, 1000);
    value.assoc_id = SCTP_ALL_ASSOC;
    FAILS(SET(fd, SCTP_MAXSEG, value), MANY(type) ? EINVAL : 0);
    FAILS(GET_LEN(fd, SCTP_MAXSEG, value, 6), EINVAL);
    WELL(set_int(fd, IPPROTO_SCTP, SCTP_MAXSEG, 0));

    value = (struct sctp_assoc_value){.assoc_value = 77};
    WELL(SET(fd, SCTP_CONTEXT, value));
    value.assoc_value = 0;
    WELL(GET(fd, SCTP_CONTEXT, value));
    IS(value.assoc_value, 77);
    FAILS(SET_LEN(fd, SCTP_CONTEXT, value, 4), EINVAL);
    FAILS(GET_LEN(fd, SCTP_CONTEXT, value, 4), EINVAL);
    value.assoc_id = 4711;
    FAILS(SET(fd, SCTP_CONTEXT, value), MANY(type) ? EINVAL : 0);
    FAILS(GET(fd, SCTP_CONTEXT, value), MANY(type) ? EINVAL : 0);

    value = (struct sctp_assoc_value){.assoc_value = 3};
    FAILS(SET(fd, SCTP_EXPOSE_POTENTIALLY_FAILED_STATE, value), EINVAL);
    value.assoc_value = 2;
    WELL(SET(fd, SCTP_EXPOSE_POTENTIALLY_FAILED_STATE, value));
    value.assoc_value = 0;
    WELL(GET(fd, SCTP_EXPOSE_POTENTIALLY_FAILED_STATE, value));
    IS(value.assoc_value, 2);
}

static void check_integers(int fd)
{
    struct sctp_setadaptation adaptation = {.ssb_adaptation_ind = 0x01020304};
    int value = 1;
    WELL(SET(fd, SCTP_ADAPTATION_LAYER, adaptation));
    IS(get_int(fd, IPPROTO_SCTP, SCTP_ADAPTATION_LAYER), 0x01020304);
    FAILS(SET_LEN(fd, SCTP_ADAPTATION_LAYER, adaptation, 3), EINVAL);
    FAILS(GET_LEN(fd, SCTP_ADAPTATION_LAYER, adaptation, 3), EINVAL);
    IS(get_int(fd, IPPROTO_SCTP, SCTP_FRAGMENT_INTERLEAVE), 0);
    WELL(set_int(fd, IPPROTO_SCTP, SCTP_FRAGMENT_INTERLEAVE, 2));
    IS(get_int(fd, IPPROTO_SCTP, SCTP_FRAGMENT_INTERLEAVE), 1);
    FAILS(SET_LEN(fd, SCTP_FRAGMENT_INTERLEAVE, value, 3), EINVAL);
    IS(get_int(fd, IPPROTO_SCTP, SCTP_PARTIAL_DELIVERY_POINT), 0);
    WELL(set_int(fd, IPPROTO_SCTP, SCTP_PARTIAL_DELIVERY_POINT, 4096));
    IS(get_int(fd, IPPROTO_SCTP, SCTP_PARTIAL_DELIVERY_POINT), 4096);
    FAILS(set_int(fd, IPPROTO_SCTP, SCTP_PARTIAL_DELIVERY_POINT, 0x7fffffff), EINVAL);
    FAILS(SET_LEN(fd, SCTP_PARTIAL_DELIVERY_POINT, value, 3), EINVAL);
    FAILS(GET_LEN(fd, SCTP_PARTIAL_DELIVERY_POINT, value, 3), EINVAL);
}

static void check_defaults(int fd, int type)
{
    struct sctp_sndrcvinfo old = {.sinfo_stream = 3, .sinfo_flags = SCTP_UNORDERED, .sinfo_ppid = 7};
    struct sctp_sndinfo info = {0};
    struct sctp_default_prinfo lifetime = {.pr_policy = SCTP_PR_SCTP_TTL, .pr_value = 100};
    WELL(SET(fd, SCTP_DEFAULT_SEND_PARAM, old));
    IS(GET(fd, SCTP_DEFAULT_SNDINFO, info), sizeof info);
    IS(info.snd_sid, 3);
    IS(info.snd_flags, SCTP_UNORDERED);
    IS(info.snd_ppid, 7);
    info = (struct sctp_sndinfo){.snd_context = 9};
    WELL(SET(fd, SCTP_DEFAULT_SNDINFO, info));
    IS(GET(fd, SCTP_DEFAULT_SEND_PARAM, old), sizeof old);
    IS(old.sinfo_stream, 0);
    IS(old.sinfo_context, 9);
    old.sinfo_flags = SCTP_SENDALL;
    FAILS(SET(fd, SCTP_DEFAULT_SEND_PARAM, old), EINVAL);
    info.snd_flags = SCTP_SENDALL;
    FAILS(SET(fd, SCTP_DEFAULT_SNDINFO, info), EINVAL);
    FAILS(SET_LEN(fd, SCTP_DEFAULT_SEND_PARAM, old, sizeof old - 1), EINVAL);
    FAILS(SET_LEN(fd, SCTP_DEFAULT_SNDINFO, info, sizeof info - 1), EINVAL);
    FAILS(GET_LEN(fd, SCTP_DEFAULT_SEND_PARAM, old, sizeof old - 1), EINVAL);
    FAILS(GET_LEN(fd, SCTP_DEFAULT_SNDINFO, info, sizeof info - 1), EINVAL);
    info = (struct sctp_sndinfo){.snd_assoc_id = 4711};
    FAILS(SET(fd, SCTP_DEFAULT_SNDINFO, info), MANY(type) ? EINVAL : 0);
    FAILS(GET(fd, SCTP_DEFAULT_SNDINFO, info), MANY(type) ? EINVAL : 0);
    WELL(SET(fd, SCTP_DEFAULT_PRINFO, lifetime));
    lifetime = (struct sctp_default_prinfo){0};
    WELL(GET(fd, SCTP_DEFAULT_PRINFO, lifetime));
    IS(lifetime.pr_policy, SCTP_PR_SCTP_TTL);
    IS(lifetime.pr_value, 100);
    lifetime.pr_policy = 0x40;
    FAILS(SET(fd, SCTP_DEFAULT_PRINFO, lifetime), EINVAL);
    FAILS(SET_LEN(fd, SCTP_DEFAULT_PRINFO, lifetime, sizeof lifetime - 1), EINVAL);
    lifetime = (struct sctp_default_prinfo){.pr_policy = SCTP_PR_SCTP_NONE, .pr_value = 5};
    WELL(SET(fd, SCTP_DEFAULT_PRINFO, lifetime));
    WELL(GET(fd, SCTP_DEFAULT_PRINFO, lifetime));
    IS(lifetime.pr_value, 0);
}

static void check_subscriptions(int fd, int type)
{
    struct sctp_event_subscribe events = {.sctp_data_io_event = 1, .sctp_shutdown_event = 1};
    struct sctp_event event = {.se_type = SCTP_SHUTDOWN_EVENT};
    WELL(SET(fd, SCTP_EVENTS, events));
    memset(&events, 0xff, sizeof events);
    IS(GET(fd, SCTP_EVENTS, events), sizeof events);
    IS(events.sctp_data_io_event, 1);
    IS(events.sctp_association_event, 0);
    IS(events.sctp_shutdown_event, 1);
    IS(GET_LEN(fd, SCTP_EVENTS, events, 1), 1);
    FAILS(GET_LEN(fd, SCTP_EVENTS, events, 0), EINVAL);
    FAILS(SET_LEN(fd, SCTP_EVENTS, events, sizeof events + 1), EINVAL);
    IS(GET(fd, SCTP_EVENT, event), sizeof event);
    IS(event.se_on, 1);
    event.se_on = 0;
    WELL(SET(fd, SCTP_EVENT, event));
    WELL(GET(fd, SCTP_EVENTS, events));
    IS(events.sctp_shutdown_event, 0);
    event.se_type = 0x7fff;
    FAILS(SET(fd, SCTP_EVENT, event), EINVAL);
    FAILS(GET(fd, SCTP_EVENT, event), EINVAL);
    event.se_type = SCTP_SEND_FAILED_EVENT + 1;
    FAILS(SET(fd, SCTP_EVENT, event), EINVAL);
    event = (struct sctp_event){.se_type = SCTP_ASSOC_CHANGE, .se_assoc_id = 4711, .se_on = 1};
    FAILS(SET(fd, SCTP_EVENT, event), MANY(type) ? EINVAL : 0);
    FAILS(SET_LEN(fd, SCTP_EVENT, event, sizeof event - 1), EINVAL);
    FAILS(GET_LEN(fd, SCTP_EVENT, event, sizeof event - 1), EINVAL);
}

static void check_styles(int fd, int type)
{
    unsigned int ids[16];
    int one = 1;
    if (MANY(type)) {
        WELL(set_int(fd, IPPROTO_SCTP, SCTP_AUTOCLOSE, 30));
        IS(get_int(fd, IPPROTO_SCTP, SCTP_AUTOCLOSE), 30);
        FAILS(SET_LEN(fd, SCTP_AUTOCLOSE, one, 3), EINVAL);
        FAILS(GET_LEN(fd, SCTP_AUTOCLOSE, one, 3), EINVAL);
        IS(get_int(fd, IPPROTO_SCTP, SCTP_GET_ASSOC_NUMBER), 0);
        IS(GET(fd, SCTP_GET_ASSOC_ID_LIST, ids), 4);
        IS(ids[0], 0);
        FAILS(GET_LEN(fd, SCTP_GET_ASSOC_ID_LIST, ids, 3), EINVAL);
        FAILS(SET(fd, SCTP_REUSE_PORT, one), EOPNOTSUPP);
    } else {
        FAILS(SET(fd, SCTP_AUTOCLOSE, one), EOPNOTSUPP);
        FAILS(GET(fd, SCTP_AUTOCLOSE, one), EOPNOTSUPP);
        FAILS(GET(fd, SCTP_GET_ASSOC_NUMBER, one), EOPNOTSUPP);
        FAILS(GET(fd, SCTP_GET_ASSOC_ID_LIST, ids), EOPNOTSUPP);
        FAILS(SET_LEN(fd, SCTP_REUSE_PORT, one, 3), EINVAL);
        WELL(SET(fd, SCTP_REUSE_PORT, one));
        IS(get_int(fd, IPPROTO_SCTP, SCTP_REUSE_PORT), 1);
    }
}

/* What is only kept: flags are 0 or 1, and others begin with what Linux has them begin with. */
static void check_kept(int fd)
{
    int flags[] = {SO_BROADCAST, SO_DONTROUTE, SO_OOBINLINE, SO_RXQ_OVFL, SO_TIMESTAMP, SO_TIMESTAMPNS};
    for (size_t at = 0; at < sizeof flags / sizeof *flags; at++) {
        IS(get_int(fd, SOL_SOCKET, flags[at]), 0);
        WELL(set_int(fd, SOL_SOCKET, flags[at], 5));
        IS(get_int(fd, SOL_SOCKET, flags[at]), 1);
        WELL(set_int(fd, SOL_SOCKET, flags[at], 0));
    }
    IS(get_int(fd, SOL_SOCKET, SO_RCVLOWAT), 1);
    WELL(set_int(fd, SOL_SOCKET, SO_RCVLOWAT, -1));
    IS(get_int(fd, SOL_SOCKET, SO_RCVLOWAT), INT_MAX);
    WELL(set_int(fd, SOL_SOCKET, SO_RCVLOWAT, 0));
    IS(get_int(fd, SOL_SOCKET, SO_RCVLOWAT), 1);
    IS(get_int(fd, SOL_SOCKET, SO_SNDLOWAT), 1);
    FAILS(set_int(fd, SOL_SOCKET, SO_SNDLOWAT, 1), ENOPROTOOPT);
    int processor = 7;
    IS(get_option(fd, SOL_SOCKET, SO_INCOMING_CPU, &processor, sizeof processor), sizeof processor);
    IS(processor, -1);
    FAILS(set_int(fd, SOL_SOCKET, SO_ZEROCOPY, 1), EOPNOTSUPP);
    IS(get_int(fd, SOL_SOCKET, SO_ZEROCOPY), 0);
    FAILS(set_int(fd, SOL_SOCKET, SO_BUSY_POLL, -1), EINVAL);
    WELL(set_int(fd, SOL_SOCKET, SO_MAX_PACING_RATE, 1000000));
    IS(get_int(fd, SOL_SOCKET, SO_MAX_PACING_RATE), 1000000);
    /* The process, the user and the group at the other end. */
    int nobody[3] = {7, 7, 7};
    IS(get_option(fd, SOL_SOCKET, SO_PEERCRED, nobody, sizeof nobody), sizeof nobody);
    IS(nobody[0] == 0 && nobody[1] == -1 && nobody[2] == -1, 1);
    uint64_t cookie = 0, again = 0;
    FAILS(get_int(fd, SOL_SOCKET, SO_COOKIE), EINVAL);
    IS(get_option(fd, SOL_SOCKET, SO_COOKIE, &cookie, sizeof cookie), sizeof cookie);
    IS(get_option(fd, SOL_SOCKET, SO_COOKIE, &again, sizeof again), sizeof again);
    IS(cookie != 0 && cookie == again, 1);
    WELL(set_int(fd, IPPROTO_IP, IP_RECVTTL, 5));
    IS(get_int(fd, IPPROTO_IP, IP_RECVTTL), 1);
    WELL(set_int(fd, IPPROTO_IP, IP_RECVTTL, 0));
    WELL(set_int(fd, IPPROTO_IP, IP_TOS, 0x1b8));
    IS(get_int(fd, IPPROTO_IP, IP_TOS), 0xb8);
    WELL(set_int(fd, IPPROTO_IP, IP_TOS, 0));
}

static void check_system(int fd, int type)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 5};
    struct timeval time = {.tv_sec = 3};
    int value = 30000, small = 1;
    char name[16];
    IS(get_int(fd, SOL_SOCKET, SO_TYPE), type);
    IS(get_int(fd, SOL_SOCKET, SO_PROTOCOL), IPPROTO_SCTP);
    IS(get_int(fd, SOL_SOCKET, SO_DOMAIN), AF_INET);
    IS(get_int(fd, SOL_SOCKET, SO_ERROR), 0);
    IS(get_int(fd, SOL_SOCKET, SO_ACCEPTCONN), 0);
    FAILS(set_int(fd, SOL_SOCKET, SO_TYPE, 1), ENOPROTOOPT);
    FAILS(set_int(fd, SOL_SOCKET, SO_ERROR, 1), ENOPROTOOPT);
    WELL(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &value, sizeof value));
    IS(get_int(fd, SOL_SOCKET, SO_RCVBUF), 60000);
    WELL(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &value, sizeof value));
    IS(get_int(fd, SOL_SOCKET, SO_SNDBUF), 60000);
    WELL(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small));
    IS(get_int(fd, SOL_SOCKET, SO_SNDBUF), 4608);
    FAILS(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, 3), EINVAL);
    WELL(set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1));
    IS(get_int(fd, SOL_SOCKET, SO_REUSEADDR), 1);
    WELL(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    memset(&linger, 0, sizeof linger);
    IS(get_option(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), sizeof linger);
    IS(linger.l_linger, 5);
    FAILS(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, 4), EINVAL);
    WELL(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time));
    memset(&time, 0, sizeof time);
    IS(get_option(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time), sizeof time);
    IS(time.tv_sec, 3);
    time.tv_sec = -1;
    WELL(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time));
    IS(get_option(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time), sizeof time);
    HOLDS(time.tv_sec == 0 && time.tv_usec == 0);
    WELL(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time));
    time.tv_usec = 1000000;
    FAILS(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time), EDOM);
    FAILS(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, 4), EINVAL);
    WELL(set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1));
    IS(get_int(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    check_kept(fd);
    IS(get_int(fd, SOL_SOCKET, SO_BPF_EXTENSIONS), 64);
    IS(get_int(fd, SOL_SOCKET, SO_INCOMING_NAPI_ID), 0);
    WELL(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "", 1));
    IS(get_option(fd, SOL_SOCKET, SO_BINDTODEVICE, name, sizeof name), 0);
    FAILS(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 2), on_kernel ? 0 : ENOPROTOOPT);
    WELL(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "", 0));
    FAILS(set_int(fd, SOL_SOCKET, 9999, 1), ENOPROTOOPT);
    FAILS(get_int(fd, SOL_SOCKET, 9999), ENOPROTOOPT);
    FAILS(set_int(fd, IPPROTO_SCTP, 9999, 1), ENOPROTOOPT);
    FAILS(get_int(fd, IPPROTO_SCTP, 9999), ENOPROTOOPT);
    FAILS(get_int(fd, IPPROTO_SCTP, SCTP_SET_PEER_PRIMARY_ADDR), ENOPROTOOPT);
    FAILS(set_int(fd, IPPROTO_SCTP, SCTP_STATUS, 1), ENOPROTOOPT);
}

void check_socket_options(int type)
{
    int fd = socket(AF_INET, type, IPPROTO_SCTP);
    int switches[] = {SCTP_NODELAY, SCTP_DISABLE_FRAGMENTS, SCTP_RECVRCVINFO, SCTP_RECVNXTINFO};
    WELL(fd);
    for (size_t at = 0; at < sizeof switches / sizeof *switches; at++)
        check_switch(fd, switches[at], 0);
    check_switch(fd, SCTP_I_WANT_MAPPED_V4_ADDR, 1);
    check_init(fd);
    check_rto(fd, type);
    check_associnfo(fd, type);
    check_delayed_sack(fd, type);
    check_values(fd, type);
    check_integers(fd);
    check_defaults(fd, type);
    check_subscriptions(fd, type);
    check_styles(fd, type);
    check_system(fd, type);
    close(fd);
}

/* Where it is asked for, an address need not be the host's; with IP_TRANSPARENT, one of IPv4 must all the same. */
static void check_elsewhere(int family, int option, int error)
{
    int fd = socket(family, SOCK_SEQPACKET, IPPROTO_SCTP);
    struct sockaddr_storage name = loopback(family, 1, 0);
    if (family == AF_INET)
        ((struct sockaddr_in *)&name)->sin_addr.s_addr = htonl(0xc0000201);
    else
        inet_pton(family, "2001:db8::1", &((struct sockaddr_in6 *)&name)->sin6_addr);
    FAILS(bind(fd, (struct sockaddr *)&name, length_of(&name)), EADDRNOTAVAIL);
    WELL(set_int(fd, IPPROTO_IP, option, 1));
    IS(get_int(fd, IPPROTO_IP, option), 1);
    FAILS(bind(fd, (struct sockaddr *)&name, length_of(&name)), error);
    close(fd);
}

void check_ip_options(int family)
{
    int fd = socket(family, SOCK_SEQPACKET, IPPROTO_SCTP), pair[2];
    struct sockaddr_storage name = loopback(family, 1, 0);
    unsigned char byte = 0x10;
    WELL(fd);
    WELL(setsockopt(fd, IPPROTO_IP, IP_TOS, &byte, 1));
    IS(get_int(fd, IPPROTO_IP, IP_TOS), 0x10);
    IS(get_option(fd, IPPROTO_IP, IP_TOS, &byte, 1), 1);
    IS(byte, 0x10);
    IS(get_int(fd, IPPROTO_IP, IP_TTL), 64);
    WELL(set_int(fd, IPPROTO_IP, IP_TTL, 9));
    IS(get_int(fd, IPPROTO_IP, IP_TTL), 9);
    FAILS(set_int(fd, IPPROTO_IP, IP_TTL, 0), EINVAL);
    FAILS(set_int(fd, IPPROTO_IP, IP_TTL, 256), EINVAL);
    FAILS(set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, 6), EINVAL);
    check_elsewhere(family, IP_FREEBIND, 0);
    check_elsewhere(family, IP_TRANSPARENT, family == AF_INET ? EADDRNOTAVAIL : 0);
    FAILS(set_int(fd, IPPROTO_IP, 9999, 1), ENOPROTOOPT);
    FAILS(socketpair(family, SOCK_STREAM, IPPROTO_SCTP, pair), EOPNOTSUPP);
    FAILS(socketpair(family, SOCK_SEQPACKET, 0, pair), EOPNOTSUPP);
    FAILS(get_int(fd, IPPROTO_TCP, 1), family == AF_INET ? EOPNOTSUPP : ENOPROTOOPT);
    FAILS(set_int(fd, IPPROTO_TCP, 1, 1), ENOPROTOOPT);
    if (family == AF_INET) {
        FAILS(get_int(fd, IPPROTO_IPV6, IPV6_V6ONLY), EOPNOTSUPP);
        FAILS(set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1), ENOPROTOOPT);
    } else {
        IS(get_int(fd, IPPROTO_IPV6, IPV6_V6ONLY), 0);
        WELL(set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1));
        IS(get_int(fd, IPPROTO_IPV6, IPV6_V6ONLY), 1);
        FAILS(set_int(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 256), EINVAL);
        WELL(set_int(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 3));
        IS(get_int(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS), 3);
        FAILS(set_int(fd, IPPROTO_IPV6, IPV6_TCLASS, 256), EINVAL);
        WELL(bind(fd, (struct sockaddr *)&name, length_of(&name)));
        FAILS(set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0), EINVAL);
    }
    close(fd);
}
