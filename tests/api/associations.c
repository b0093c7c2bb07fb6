/* Options of associations and of paths that there are, and of extensions. */
#include "check.h"

#include <stdlib.h>
#include <unistd.h>

#define MANY(type) ((type) == SOCK_SEQPACKET)

/* The number by which options mean an association: one-to-one sockets have but one, whatever the number. */
static sctp_assoc_t number(const struct ends *ends, int type)
{
    return MANY(type) ? ends->at_client : 4711;
}

static void check_status(const struct ends *ends, int type)
{
    struct sctp_status status = {.sstat_assoc_id = number(ends, type)};
    struct sctp_assocparams info = {.sasoc_assoc_id = number(ends, type)};
    struct sctp_assoc_stats stats = {.sas_assoc_id = number(ends, type)};
    int fd = ends->client;
    IS(GET(fd, SCTP_STATUS, status), sizeof status);
    IS(status.sstat_assoc_id, ends->at_client);
    IS(status.sstat_state, SCTP_ESTABLISHED);
    IS(status.sstat_outstrms, 10);
    IS(status.sstat_instrms, 10);
    IS(status.sstat_unackdata, 0);
    IS(status.sstat_penddata, 0);
    HOLDS(status.sstat_rwnd >= 1500);
    HOLDS(status.sstat_fragmentation_point >= 464);
    IS(status.sstat_primary.spinfo_assoc_id, ends->at_client);
    IS(status.sstat_primary.spinfo_state, SCTP_ACTIVE);
    IS(status.sstat_primary.spinfo_address.ss_family, AF_INET);
    HOLDS(status.sstat_primary.spinfo_mtu >= 512);
    IS(status.sstat_primary.spinfo_mtu % 4, 0);
    HOLDS(status.sstat_primary.spinfo_cwnd > 0);
    FAILS(GET_LEN(fd, SCTP_STATUS, status, sizeof status - 1), EINVAL);
    status.sstat_assoc_id = 4711;
    FAILS(GET(fd, SCTP_STATUS, status), MANY(type) ? EINVAL : 0);
    WELL(GET(fd, SCTP_ASSOCINFO, info));
    IS(info.sasoc_number_peer_destinations, 1);
    HOLDS(info.sasoc_peer_rwnd >= 1500 && info.sasoc_local_rwnd >= 1500);
    IS(GET(fd, SCTP_GET_ASSOC_STATS, stats), sizeof stats);
    HOLDS(stats.sas_opackets > 0 && stats.sas_ipackets > 0);
    IS(stats.sas_rtxchunks, 0);
    FAILS(GET_LEN(fd, SCTP_GET_ASSOC_STATS, stats, 3), EINVAL);
    IS(GET_LEN(fd, SCTP_GET_ASSOC_STATS, stats, 4), 4);
}

/* What was exchanged is counted. */
static void check_counters(int type)
{
    struct sctp_assoc_stats sent, got;
    struct ends ends = associate(AF_INET, type);
    char buffer[100];
    for (int at = 0; at < 5; at++) {
        struct sctp_sndinfo info = {.snd_flags = at < 2 ? SCTP_UNORDERED : 0, .snd_assoc_id = ends.at_client};
        IS(send_with(ends.client, NULL, "counted", 7, SCTP_SNDINFO, &info, sizeof info), 7);
        IS(recv(ends.server, buffer, sizeof buffer, 0), 7);
    }
    /* The last SACK may be delayed. */
    usleep(500 * 1000);
    sent.sas_assoc_id = ends.at_client;
    got.sas_assoc_id = ends.at_server;
    IS(GET(ends.client, SCTP_GET_ASSOC_STATS, sent), sizeof sent);
    IS(GET(ends.server, SCTP_GET_ASSOC_STATS, got), sizeof got);
    IS(sent.sas_oodchunks, 3);
    IS(sent.sas_ouodchunks, 2);
    IS(sent.sas_rtxchunks, 0);
    IS(got.sas_iodchunks, 3);
    IS(got.sas_iuodchunks, 2);
    IS(got.sas_idupchunks, 0);
    IS(got.sas_outofseqtsns, 0);
    IS(sent.sas_gapcnt, 0);
    HOLDS(sent.sas_isacks > 0);
    IS(sent.sas_isacks, got.sas_osacks);
    /* INIT and COOKIE ECHO; INIT ACK and COOKIE ACK. */
    IS(sent.sas_octrlchunks, 2);
    IS(sent.sas_ictrlchunks, 2 + sent.sas_isacks);
    /* INIT ACK is made before there is an association. */
    IS(got.sas_octrlchunks, 1 + got.sas_osacks);
    part(&ends);
}

/* What is set for an association is its own; what is set for those to come leaves it alone. */
static void check_scopes(const struct ends *ends, int type)
{
    struct sctp_rtoinfo rto = {.srto_assoc_id = number(ends, type), .srto_min = 300};
    struct sctp_assoc_value value = {.assoc_id = number(ends, type), .assoc_value = 21};
    int fd = ends->client;
    WELL(SET(fd, SCTP_RTOINFO, rto));
    rto = (struct sctp_rtoinfo){.srto_assoc_id = number(ends, type)};
    WELL(GET(fd, SCTP_RTOINFO, rto));
    IS(rto.srto_min, 300);
    WELL(SET(fd, SCTP_CONTEXT, value));
    value.assoc_value = 0;
    WELL(GET(fd, SCTP_CONTEXT, value));
    IS(value.assoc_value, 21);
    if (!MANY(type))
        return;
    rto.srto_assoc_id = SCTP_FUTURE_ASSOC;
    WELL(GET(fd, SCTP_RTOINFO, rto));
    IS(rto.srto_min, 1000);
    value = (struct sctp_assoc_value){.assoc_id = SCTP_FUTURE_ASSOC, .assoc_value = 22};
    WELL(SET(fd, SCTP_CONTEXT, value));
    value.assoc_id = ends->at_client;
    WELL(GET(fd, SCTP_CONTEXT, value));
    IS(value.assoc_value, 21);
    value = (struct sctp_assoc_value){.assoc_id = SCTP_CURRENT_ASSOC, .assoc_value = 23};
    WELL(SET(fd, SCTP_CONTEXT, value));
    value.assoc_id = ends->at_client;
    WELL(GET(fd, SCTP_CONTEXT, value));
    IS(value.assoc_value, 23);
    value.assoc_id = SCTP_FUTURE_ASSOC;
    WELL(GET(fd, SCTP_CONTEXT, value));
    IS(value.assoc_value, 22);
    value = (struct sctp_assoc_value){.assoc_id = SCTP_ALL_ASSOC, .assoc_value = 24};
    WELL(SET(fd, SCTP_CONTEXT, value));
    value.assoc_id = SCTP_FUTURE_ASSOC;
    WELL(GET(fd, SCTP_CONTEXT, value));
    IS(value.assoc_value, 24);
    value.assoc_id = SCTP_CURRENT_ASSOC;
    FAILS(GET(fd, SCTP_CONTEXT, value), EINVAL);
}

static void check_identifiers(const struct ends *ends, int type)
{
    unsigned int ids[8] = {0};
    if (!MANY(type))
        return;
    IS(get_int(ends->client, IPPROTO_SCTP, SCTP_GET_ASSOC_NUMBER), 1);
    IS(GET(ends->client, SCTP_GET_ASSOC_ID_LIST, ids), 8);
    IS(ids[0], 1);
    IS(ids[1], ends->at_client);
    FAILS(GET_LEN(ends->client, SCTP_GET_ASSOC_ID_LIST, ids, 7), EINVAL);
}

void check_association_options(int type)
{
    struct ends ends = associate(AF_INET, type);
    struct sctp_assoc_value value = {.assoc_id = number(&ends, type), .assoc_value = 600};
    int fd = ends.client;
    check_status(&ends, type);
    check_counters(type);
    check_scopes(&ends, type);
    check_identifiers(&ends, type);
    WELL(SET(fd, SCTP_MAXSEG, value));
    WELL(GET(fd, SCTP_MAXSEG, value));
    IS(value.assoc_value, 600);
    IS(get_int(fd, SOL_SOCKET, SO_ERROR), 0);
    part(&ends);
}

static void check_path_parameters(const struct ends *ends, int type, struct sockaddr_storage peer)
{
    struct sctp_paddrparams params = {.spp_assoc_id = number(ends, type)};
    int fd = ends->client;
    IS(GET(fd, SCTP_PEER_ADDR_PARAMS, params), 156);
    IS(params.spp_hbinterval, 30000);
    IS(params.spp_pathmaxrxt, 5);
    IS(params.spp_sackdelay, 200);
    IS(params.spp_flags, SPP_HB_ENABLE | SPP_PMTUD_ENABLE | SPP_SACKDELAY_ENABLE);
    HOLDS(params.spp_pathmtu >= 512);
    IS(GET_LEN(fd, SCTP_PEER_ADDR_PARAMS, params, 152), 152);
    FAILS(GET_LEN(fd, SCTP_PEER_ADDR_PARAMS, params, 151), EINVAL);

    memset(&params, 0, sizeof params);
    params.spp_assoc_id = MANY(type) ? ends->at_client : 0;
    params.spp_address = peer;
    params.spp_hbinterval = 7000;
    params.spp_pathmaxrxt = 3;
    params.spp_flags = SPP_HB_ENABLE | SPP_HB_DEMAND;
    WELL(SET(fd, SCTP_PEER_ADDR_PARAMS, params));
    WELL(GET(fd, SCTP_PEER_ADDR_PARAMS, params));
    IS(params.spp_hbinterval, 7000);
    IS(params.spp_pathmaxrxt, 3);
    params.spp_flags = SPP_PMTUD_DISABLE;
    params.spp_pathmtu = 1000;
    WELL(SET(fd, SCTP_PEER_ADDR_PARAMS, params));
    WELL(GET(fd, SCTP_PEER_ADDR_PARAMS, params));
    IS(params.spp_pathmtu, 1000);
    IS(params.spp_flags & SPP_PMTUD_DISABLE, SPP_PMTUD_DISABLE);
    /* What is not fixed any more is what the route says again. */
    params.spp_flags = SPP_PMTUD_ENABLE;
    WELL(SET(fd, SCTP_PEER_ADDR_PARAMS, params));
    WELL(GET(fd, SCTP_PEER_ADDR_PARAMS, params));
    HOLDS(params.spp_pathmtu > 1000);
    params.spp_flags = SPP_PMTUD_DISABLE;
    params.spp_pathmtu = 1000;
    WELL(SET(fd, SCTP_PEER_ADDR_PARAMS, params));
    params.spp_pathmtu = 511;
    FAILS(SET(fd, SCTP_PEER_ADDR_PARAMS, params), EINVAL);
    params.spp_pathmtu = 0;
    params.spp_flags = SPP_HB_ENABLE | SPP_HB_DISABLE;
    FAILS(SET(fd, SCTP_PEER_ADDR_PARAMS, params), EINVAL);
    params.spp_flags = SPP_SACKDELAY_ENABLE;
    params.spp_sackdelay = 501;
    FAILS(SET(fd, SCTP_PEER_ADDR_PARAMS, params), EINVAL);
    params.spp_sackdelay = 0;
    params.spp_flags = SPP_DSCP;
    params.spp_dscp = 0xb8;
    WELL(SET_LEN(fd, SCTP_PEER_ADDR_PARAMS, params, 156));
    FAILS(SET_LEN(fd, SCTP_PEER_ADDR_PARAMS, params, 152), EINVAL);
    FAILS(SET_LEN(fd, SCTP_PEER_ADDR_PARAMS, params, 155), EINVAL);
    WELL(GET(fd, SCTP_PEER_ADDR_PARAMS, params));
    IS(params.spp_dscp, 0xb8);
    HOLDS(params.spp_flags & SPP_DSCP);
    /* Of all of its paths, an association of IPv4 alone has a flow label; a path has none, nor those to come. */
    params.spp_flags = SPP_IPV6_FLOWLABEL;
    params.spp_ipv6_flowlabel = 0x12345;
    WELL(SET(fd, SCTP_PEER_ADDR_PARAMS, params));
    IS(GET(fd, SCTP_PEER_ADDR_PARAMS, params), 156);
    IS(params.spp_flags & SPP_IPV6_FLOWLABEL, 0);
    memset(&params, 0, sizeof params);
    params.spp_assoc_id = number(ends, type);
    params.spp_flags = SPP_IPV6_FLOWLABEL;
    params.spp_ipv6_flowlabel = 0x12345;
    WELL(SET(fd, SCTP_PEER_ADDR_PARAMS, params));
    IS(GET(fd, SCTP_PEER_ADDR_PARAMS, params), 156);
    IS(params.spp_flags & SPP_IPV6_FLOWLABEL, SPP_IPV6_FLOWLABEL);
    IS(params.spp_ipv6_flowlabel, 0x12345);
    IS(params.spp_pathmtu % 4, 0);
    params.spp_address = peer;
    IS(GET(fd, SCTP_PEER_ADDR_PARAMS, params), 156);
    IS(params.spp_flags & SPP_IPV6_FLOWLABEL, 0);
    /* An address that is not the peer's; one that is nobody's, with an association that is not there. */
    params.spp_flags = 0;
    params.spp_address = loopback(AF_INET, 9, 1);
    FAILS(SET(fd, SCTP_PEER_ADDR_PARAMS, params), EINVAL);
    FAILS(GET(fd, SCTP_PEER_ADDR_PARAMS, params), EINVAL);
    memset(&params, 0, sizeof params);
    params.spp_assoc_id = 4711;
    FAILS(GET(fd, SCTP_PEER_ADDR_PARAMS, params), MANY(type) ? EINVAL : 0);
    if (MANY(type)) {
        params.spp_assoc_id = 0;
        params.spp_flags = SPP_HB_DEMAND;
        FAILS(SET(fd, SCTP_PEER_ADDR_PARAMS, params), EINVAL);
    }
}

static void check_thresholds(const struct ends *ends, int type, struct sockaddr_storage peer)
{
    struct sctp_paddrthlds thresholds = {.spt_assoc_id = number(ends, type)};
    struct sctp_paddrthlds_v2 second = {.spt_assoc_id = number(ends, type)};
    int fd = ends->client;
    IS(GET(fd, SCTP_PEER_ADDR_THLDS, thresholds), sizeof thresholds);
    IS(thresholds.spt_pathmaxrxt, 5);
    IS(thresholds.spt_pathpfthld, 0);
    IS(GET(fd, SCTP_PEER_ADDR_THLDS_V2, second), sizeof second);
    IS(second.spt_pathcpthld, 0xffff);
    thresholds.spt_pathpfthld = 2;
    WELL(SET(fd, SCTP_PEER_ADDR_THLDS, thresholds));
    memcpy(&second.spt_address, &peer, sizeof peer);
    second.spt_assoc_id = MANY(type) ? ends->at_client : 0;
    WELL(GET(fd, SCTP_PEER_ADDR_THLDS_V2, second));
    IS(second.spt_pathpfthld, 2);
    second.spt_pathpfthld = 5;
    second.spt_pathcpthld = 4;
    FAILS(SET(fd, SCTP_PEER_ADDR_THLDS_V2, second), EINVAL);
    second.spt_pathcpthld = 6;
    WELL(SET(fd, SCTP_PEER_ADDR_THLDS_V2, second));
    peer = loopback(AF_INET, 9, 1);
    memcpy(&second.spt_address, &peer, sizeof peer);
    FAILS(GET(fd, SCTP_PEER_ADDR_THLDS_V2, second), ENOENT);
    FAILS(SET(fd, SCTP_PEER_ADDR_THLDS_V2, second), ENOENT);
    FAILS(GET_LEN(fd, SCTP_PEER_ADDR_THLDS, thresholds, sizeof thresholds - 1), EINVAL);
    FAILS(SET_LEN(fd, SCTP_PEER_ADDR_THLDS, thresholds, sizeof thresholds - 1), EINVAL);
}

static void check_primary(const struct ends *ends, int type, struct sockaddr_storage peer)
{
    struct sctp_prim prim = {.ssp_assoc_id = number(ends, type)};
    struct sctp_paddrinfo info = {.spinfo_assoc_id = MANY(type) ? ends->at_client : 0, .spinfo_address = peer};
    int fd = ends->client;
    IS(GET(fd, SCTP_PRIMARY_ADDR, prim), sizeof prim);
    HOLDS(!memcmp(&prim.ssp_addr, &peer, sizeof(struct sockaddr_in)));
    prim.ssp_assoc_id = MANY(type) ? ends->at_client : 0;
    WELL(SET(fd, SCTP_PRIMARY_ADDR, prim));
    prim.ssp_addr = loopback(AF_INET, 9, 1);
    FAILS(SET(fd, SCTP_PRIMARY_ADDR, prim), EINVAL);
    FAILS(SET_LEN(fd, SCTP_PRIMARY_ADDR, prim, sizeof prim - 1), EINVAL);
    FAILS(GET_LEN(fd, SCTP_PRIMARY_ADDR, prim, sizeof prim - 1), EINVAL);
    IS(GET(fd, SCTP_GET_PEER_ADDR_INFO, info), sizeof info);
    IS(info.spinfo_assoc_id, ends->at_client);
    IS(info.spinfo_state, SCTP_ACTIVE);
    info.spinfo_address = loopback(AF_INET, 9, 1);
    FAILS(GET(fd, SCTP_GET_PEER_ADDR_INFO, info), EINVAL);
    FAILS(GET_LEN(fd, SCTP_GET_PEER_ADDR_INFO, info, sizeof info - 1), EINVAL);
}

static void check_probing(const struct ends *ends, int type, struct sockaddr_storage peer)
{
    struct sctp_probeinterval probe = {.spi_assoc_id = number(ends, type), .spi_interval = 10000};
    struct sctp_udpencaps encapsulation = {.sue_assoc_id = number(ends, type)};
    int fd = ends->client;
    WELL(SET(fd, SCTP_PLPMTUD_PROBE_INTERVAL, probe));
    probe.spi_interval = 0;
    memcpy(&probe.spi_address, &peer, sizeof peer);
    probe.spi_assoc_id = MANY(type) ? ends->at_client : 0;
    WELL(GET(fd, SCTP_PLPMTUD_PROBE_INTERVAL, probe));
    IS(probe.spi_interval, 10000);
    probe.spi_interval = 4999;
    FAILS(SET(fd, SCTP_PLPMTUD_PROBE_INTERVAL, probe), EINVAL);
    FAILS(SET_LEN(fd, SCTP_PLPMTUD_PROBE_INTERVAL, probe, sizeof probe - 1), EINVAL);
    IS(GET(fd, SCTP_REMOTE_UDP_ENCAPS_PORT, encapsulation), sizeof encapsulation);
    FAILS(GET_LEN(fd, SCTP_REMOTE_UDP_ENCAPS_PORT, encapsulation, sizeof encapsulation - 1), EINVAL);
    FAILS(SET_LEN(fd, SCTP_REMOTE_UDP_ENCAPS_PORT, encapsulation, sizeof encapsulation - 1), EINVAL);
    encapsulation.sue_assoc_id = 4711;
    FAILS(GET(fd, SCTP_REMOTE_UDP_ENCAPS_PORT, encapsulation), MANY(type) ? EINVAL : 0);
    if (MANY(type)) {
        encapsulation = (struct sctp_udpencaps){.sue_port = htons(9899)};
        WELL(SET(fd, SCTP_REMOTE_UDP_ENCAPS_PORT, encapsulation));
        encapsulation.sue_port = 0;
        WELL(GET(fd, SCTP_REMOTE_UDP_ENCAPS_PORT, encapsulation));
        IS(ntohs(encapsulation.sue_port), 9899);
    }
}

void check_path_options(int type)
{
    struct ends ends = associate(AF_INET, type);
    struct sockaddr_storage peer = loopback(AF_INET, 1, port_of(ends.listener));
    check_path_parameters(&ends, type, peer);
    check_thresholds(&ends, type, peer);
    check_primary(&ends, type, peer);
    check_probing(&ends, type, peer);
    part(&ends);
}

static void check_supported(int fd, int option, int on_linux)
{
    struct sctp_assoc_value value = {0};
    IS(GET(fd, option, value), sizeof value);
    IS(value.assoc_value, on_kernel ? on_linux : 0);
    value.assoc_value = 0;
    if (option == SCTP_INTERLEAVING_SUPPORTED)
        FAILS(SET(fd, option, value), EPERM);
    else
        WELL(SET(fd, option, value));
    FAILS(SET_LEN(fd, option, value, 4), EINVAL);
    FAILS(GET_LEN(fd, option, value, 4), EINVAL);
}

static void check_authentication(const struct ends *ends, int type)
{
    struct sctp_authchunk chunk = {.sauth_chunk = 0};
    struct sctp_authkeyid key = {0};
    struct { struct sctp_authkey head; unsigned char key[8]; } secret = {.head.sca_keylength = 8};
    struct { struct sctp_authchunks head; unsigned char chunks[16]; } chunks = {0};
    struct { struct sctp_hmacalgo head; unsigned short idents[4]; } hmacs = {.head.shmac_num_idents = 1};
    int fd = ends->client;
    FAILS(SET(fd, SCTP_AUTH_CHUNK, chunk), EACCES);
    FAILS(GET(fd, SCTP_AUTH_CHUNK, chunk), EOPNOTSUPP);
    FAILS(SET(fd, SCTP_HMAC_IDENT, hmacs), EACCES);
    FAILS(GET(fd, SCTP_HMAC_IDENT, hmacs), EACCES);
    FAILS(SET(fd, SCTP_AUTH_KEY, secret), EACCES);
    FAILS(GET(fd, SCTP_AUTH_KEY, secret), EOPNOTSUPP);
    secret.head.sca_keylength = 9;
    FAILS(SET(fd, SCTP_AUTH_KEY, secret), EINVAL);
    FAILS(SET(fd, SCTP_AUTH_ACTIVE_KEY, key), EACCES);
    FAILS(GET(fd, SCTP_AUTH_ACTIVE_KEY, key), EACCES);
    FAILS(SET(fd, SCTP_AUTH_DELETE_KEY, key), EACCES);
    FAILS(SET(fd, SCTP_AUTH_DEACTIVATE_KEY, key), EACCES);
    FAILS(SET_LEN(fd, SCTP_AUTH_ACTIVE_KEY, key, 4), EINVAL);
    FAILS(GET(fd, SCTP_AUTH_DELETE_KEY, key), EOPNOTSUPP);
    FAILS(GET(fd, SCTP_LOCAL_AUTH_CHUNKS, chunks), EACCES);
    FAILS(GET(fd, SCTP_PEER_AUTH_CHUNKS, chunks), MANY(type) ? EINVAL : EACCES);
    chunks.head.gauth_assoc_id = ends->at_client;
    FAILS(GET(fd, SCTP_PEER_AUTH_CHUNKS, chunks), EACCES);
    key.scact_assoc_id = 4711;
    FAILS(SET(fd, SCTP_AUTH_ACTIVE_KEY, key), MANY(type) ? EINVAL : EACCES);
}

static void check_resets(const struct ends *ends, int type)
{
    struct sctp_assoc_value value = {.assoc_id = ends->at_client, .assoc_value = 7};
    struct sctp_reset_streams streams = {.srs_assoc_id = ends->at_client, .srs_flags = SCTP_STREAM_RESET_OUTGOING};
    struct sctp_add_streams more = {.sas_assoc_id = ends->at_client, .sas_outstrms = 1};
    int fd = ends->client;
    WELL(SET(fd, SCTP_ENABLE_STREAM_RESET, value));
    value.assoc_value = 0;
    WELL(GET(fd, SCTP_ENABLE_STREAM_RESET, value));
    IS(value.assoc_value, 7);
    value.assoc_value = 8;
    FAILS(SET(fd, SCTP_ENABLE_STREAM_RESET, value), EINVAL);
    FAILS(SET(fd, SCTP_RESET_STREAMS, streams), ENOPROTOOPT);
    streams.srs_number_streams = 1;
    FAILS(SET(fd, SCTP_RESET_STREAMS, streams), EINVAL);
    FAILS(SET(fd, SCTP_RESET_ASSOC, ends->at_client), ENOPROTOOPT);
    FAILS(SET(fd, SCTP_ADD_STREAMS, more), ENOPROTOOPT);
    more.sas_assoc_id = 4711;
    FAILS(SET(fd, SCTP_ADD_STREAMS, more), MANY(type) ? EINVAL : ENOPROTOOPT);
}

static void check_schedulers(const struct ends *ends)
{
    struct sctp_assoc_value value = {.assoc_id = ends->at_client, .assoc_value = 3};
    struct sctp_stream_value stream = {.assoc_id = ends->at_client, .stream_id = 1};
    int fd = ends->client;
    FAILS(SET(fd, SCTP_STREAM_SCHEDULER, value), EINVAL);
    value.assoc_value = SCTP_SS_FCFS;
    WELL(SET(fd, SCTP_STREAM_SCHEDULER, value));
    WELL(GET(fd, SCTP_STREAM_SCHEDULER, value));
    IS(value.assoc_value, SCTP_SS_FCFS);
    value.assoc_value = SCTP_SS_RR;
    FAILS(SET(fd, SCTP_STREAM_SCHEDULER, value), on_kernel ? 0 : EOPNOTSUPP);
    value.assoc_value = SCTP_SS_FCFS;
    WELL(SET(fd, SCTP_STREAM_SCHEDULER, value));
    WELL(SET(fd, SCTP_STREAM_SCHEDULER_VALUE, stream));
    WELL(GET(fd, SCTP_STREAM_SCHEDULER_VALUE, stream));
    IS(stream.stream_value, 0);
    stream.stream_id = 10;
    FAILS(SET(fd, SCTP_STREAM_SCHEDULER_VALUE, stream), EINVAL);
    FAILS(GET(fd, SCTP_STREAM_SCHEDULER_VALUE, stream), EINVAL);
}

void check_extensions(int type)
{
    struct ends ends = associate(AF_INET, type);
    int fd = socket(AF_INET, type, IPPROTO_SCTP);
    struct sctp_setpeerprim prim = {.sspp_assoc_id = ends.at_client};
    struct sctp_prstatus status = {.sprstat_assoc_id = ends.at_client, .sprstat_policy = SCTP_PR_SCTP_ALL};
    struct sockaddr_in all = {.sin_family = AF_INET};
    struct sockaddr *addresses = NULL;
    check_supported(fd, SCTP_PR_SUPPORTED, 1);
    check_supported(fd, SCTP_RECONFIG_SUPPORTED, 0);
    check_supported(fd, SCTP_INTERLEAVING_SUPPORTED, 0);
    check_supported(fd, SCTP_ASCONF_SUPPORTED, 0);
    check_supported(fd, SCTP_AUTH_SUPPORTED, 0);
    check_supported(fd, SCTP_ECN_SUPPORTED, 1);
    check_authentication(&ends, type);
    check_resets(&ends, type);
    check_schedulers(&ends);
    FAILS(SET(ends.client, SCTP_SET_PEER_PRIMARY_ADDR, prim), EPERM);
    IS(get_int(fd, IPPROTO_SCTP, SCTP_AUTO_ASCONF), 0);
    FAILS(set_int(ends.client, IPPROTO_SCTP, SCTP_AUTO_ASCONF, 1), EINVAL);
    FAILS(set_int(fd, IPPROTO_SCTP, SCTP_AUTO_ASCONF, 1), EINVAL);
    IS(sctp_getladdrs(fd, 0, &addresses), 0);
    WELL(bind(fd, (struct sockaddr *)&all, sizeof all));
    WELL(set_int(fd, IPPROTO_SCTP, SCTP_AUTO_ASCONF, 1));
    IS(get_int(fd, IPPROTO_SCTP, SCTP_AUTO_ASCONF), 1);
    HOLDS(sctp_getladdrs(fd, 0, &addresses) > 0);
    sctp_freeladdrs(addresses);
    IS(GET(ends.client, SCTP_PR_ASSOC_STATUS, status), sizeof status);
    IS(status.sprstat_abandoned_unsent, 0);
    IS(GET(ends.client, SCTP_PR_STREAM_STATUS, status), sizeof status);
    status.sprstat_sid = 10;
    FAILS(GET(ends.client, SCTP_PR_STREAM_STATUS, status), EINVAL);
    status.sprstat_policy = 0;
    FAILS(GET(ends.client, SCTP_PR_ASSOC_STATUS, status), EINVAL);
    close(fd);
    part(&ends);
}
