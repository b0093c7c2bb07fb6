/* The RFC 6458 socket API as the two peers offer it: the Linux kernel's, and usrsctp's with its prefix. */
#ifndef ESOCK_BACKEND_H
#define ESOCK_BACKEND_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#ifdef PEER_USRSCTP

#include <stdarg.h>
#include <stdio.h>
#include <usrsctp.h>

typedef struct socket *sock_t;
#define NO_SOCKET NULL

static inline void backend_init(uint16_t udp_port, uint32_t buffer)
{
	int bytes = 8 << 20;

	usrsctp_init(udp_port, NULL, NULL);
	/* The sockets below usrsctp have the system's default receive buffer, 90 packets: less than a window. */
	for (int fd = 3; fd < 64; fd++)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	usrsctp_sysctl_set_sctp_sendspace(buffer);
	usrsctp_sysctl_set_sctp_recvspace(buffer);
	/* The default, 2048, is less than two messages of 1 MB. */
	usrsctp_sysctl_set_sctp_max_chunks_on_queue(65536);
}
static inline sock_t x_socket(int family)
{
	return usrsctp_socket(family, SOCK_STREAM, IPPROTO_SCTP, NULL, NULL, 0, NULL);
}
static inline int x_setopt(sock_t s, int level, int name, const void *value, socklen_t length)
{
	return usrsctp_setsockopt(s, level, name, value, length);
}
static inline int x_getopt(sock_t s, int level, int name, void *value, socklen_t *length)
{
	return usrsctp_getsockopt(s, level, name, value, length);
}
static inline int x_buffers(sock_t s, int bytes)
{
	if (usrsctp_setsockopt(s, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)) < 0)
		return -1;
	return usrsctp_setsockopt(s, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}
/* usrsctp's IPv6 sockets take IPv4 addresses too, and have no option about it. */
static inline int x_dual_stack(sock_t s)
{
	(void)s;
	return 0;
}
static inline int x_bindx(sock_t s, struct sockaddr *addrs, int count)
{
	return usrsctp_bindx(s, addrs, count, SCTP_BINDX_ADD_ADDR);
}
static inline int x_connectx(sock_t s, struct sockaddr *addrs, int count)
{
	return usrsctp_connectx(s, addrs, count, NULL);
}
static inline int x_listen(sock_t s)
{
	return usrsctp_listen(s, 1);
}
static inline sock_t x_accept(sock_t s)
{
	return usrsctp_accept(s, NULL, NULL);
}
static inline ssize_t x_sendv(sock_t s, const void *data, size_t length, struct sctp_sndinfo *info)
{
	return usrsctp_sendv(s, data, length, NULL, 0, info, sizeof(*info), SCTP_SENDV_SNDINFO, 0);
}
static inline ssize_t x_recvv(sock_t s, void *data, size_t length, struct sctp_rcvinfo *info, int *has_info, int *flags)
{
	struct sockaddr_storage from;
	socklen_t from_length = sizeof(from), info_length = sizeof(*info);
	unsigned int type = 0;
	ssize_t n;

	*flags = 0;
	n = usrsctp_recvv(s, data, length, (struct sockaddr *)&from, &from_length, info, &info_length, &type, flags);
	*has_info = type == SCTP_RECVV_RCVINFO;
	return n;
}
static inline int x_shutdown(sock_t s)
{
	return usrsctp_shutdown(s, SHUT_WR);
}
static inline void x_close(sock_t s)
{
	usrsctp_close(s);
}
/* Sends an ABORT with a reason. */
static inline int x_abort(sock_t s, const char *reason)
{
	struct sctp_sndinfo info;

	memset(&info, 0, sizeof(info));
	info.snd_flags = SCTP_ABORT;
	return x_sendv(s, reason, strlen(reason), &info) < 0 ? -1 : 0;
}
/* Gives the stack's threads a moment to finish what closing began; it fails as long as they have not. */
static inline void backend_finish(void)
{
	for (int i = 0; i < 20 && usrsctp_finish() != 0; i++)
		usleep(50 * 1000);
}

#else

#include <netinet/sctp.h>

typedef int sock_t;
#define NO_SOCKET (-1)

/* The kernel's UDP port and buffer limits are sysctls, set by init.sh. */
static inline void backend_init(uint16_t udp_port, uint32_t buffer)
{
	(void)udp_port;
	(void)buffer;
}
static inline sock_t x_socket(int family)
{
	return socket(family, SOCK_STREAM, IPPROTO_SCTP);
}
static inline int x_setopt(sock_t s, int level, int name, const void *value, socklen_t length)
{
	return setsockopt(s, level, name, value, length);
}
static inline int x_getopt(sock_t s, int level, int name, void *value, socklen_t *length)
{
	return getsockopt(s, level, name, value, length);
}
static inline int x_buffers(sock_t s, int bytes)
{
	if (setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
		return -1;
	return setsockopt(s, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
}
static inline int x_dual_stack(sock_t s)
{
	int off = 0;

	return setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
}
static inline int x_bindx(sock_t s, struct sockaddr *addrs, int count)
{
	return sctp_bindx(s, addrs, count, SCTP_BINDX_ADD_ADDR);
}
static inline int x_connectx(sock_t s, struct sockaddr *addrs, int count)
{
	return sctp_connectx(s, addrs, count, NULL);
}
static inline int x_listen(sock_t s)
{
	return listen(s, 1);
}
static inline sock_t x_accept(sock_t s)
{
	return accept(s, NULL, NULL);
}
static inline ssize_t x_sendv(sock_t s, const void *data, size_t length, struct sctp_sndinfo *info)
{
	struct iovec iov = { .iov_base = (void *)data, .iov_len = length };

	return sctp_sendv(s, &iov, 1, NULL, 0, info, sizeof(*info), SCTP_SENDV_SNDINFO, 0);
}
static inline ssize_t x_recvv(sock_t s, void *data, size_t length, struct sctp_rcvinfo *info, int *has_info, int *flags)
{
	struct iovec iov = { .iov_base = data, .iov_len = length };
	struct sockaddr_storage from;
	socklen_t from_length = sizeof(from), info_length = sizeof(*info);
	unsigned int type = 0;
	ssize_t n;

	*flags = 0;
	n = sctp_recvv(s, &iov, 1, (struct sockaddr *)&from, &from_length, info, &info_length, &type, flags);
	*has_info = type == SCTP_RECVV_RCVINFO;
	return n;
}
static inline int x_shutdown(sock_t s)
{
	return shutdown(s, SHUT_WR);
}
static inline void x_close(sock_t s)
{
	close(s);
}
/* Linux takes SCTP_ABORT on one-to-many sockets only: an ABORT, without a reason, leaves when the process ends. */
static inline int x_abort(sock_t s, const char *reason)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	(void)reason;
	return setsockopt(s, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}
static inline void backend_finish(void)
{
}

#endif
#endif
