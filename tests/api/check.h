/* Checks of the socket API: what is expected of calls, and who says so when it is otherwise. */
#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <netinet/in.h>
#include <netinet/sctp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

extern int checks, failures;
/* Whether this runs on Linux's own SCTP, where extensions are there that esock does not have. */
extern int on_kernel;

void report(int ok, const char *file, int line, const char *what, const char *wanted, const char *got);
const char *name_of(int error);
void check_value(long got, long wanted, const char *file, int line, const char *what);
void check_errno(long got, int wanted, const char *file, int line, const char *what);

/* A condition holds. */
#define HOLDS(condition) report(!!(condition), __FILE__, __LINE__, #condition, "true", "false")
/* A value is what it must be. */
#define IS(value, wanted) check_value((long)(value), (long)(wanted), __FILE__, __LINE__, #value)
/* A call goes well. */
#define WELL(call) check_errno((long)(call), 0, __FILE__, __LINE__, #call)
/* A call fails, with this errno. */
#define FAILS(call, error) (errno = 0, check_errno((long)(call), error, __FILE__, __LINE__, #call))

/* setsockopt and getsockopt at the level of SCTP. */
#define SET(fd, option, value) setsockopt(fd, IPPROTO_SCTP, option, &(value), sizeof(value))
#define SET_LEN(fd, option, value, len) setsockopt(fd, IPPROTO_SCTP, option, &(value), len)
#define GET(fd, option, value) get_option(fd, IPPROTO_SCTP, option, &(value), sizeof(value))
#define GET_LEN(fd, option, value, len) get_option(fd, IPPROTO_SCTP, option, &(value), len)
/* Returns the length of the answer, or -1. */
int get_option(int fd, int level, int option, void *value, socklen_t len);
/* Sets an integer of any level. */
int set_int(int fd, int level, int option, int value);
/* An integer of any level; -1 with errno set if there is none. */
int get_int(int fd, int level, int option);

/* An address of the loopback: IPv4 127.0.0.HOST, or ::1. */
struct sockaddr_storage loopback(int family, int host, int port);
socklen_t length_of(const struct sockaddr_storage *address);
/* A socket, bound to 127.0.0.1 or ::1; its port. */
int bound(int family, int type);
int port_of(int fd);
/* Waits until something can be read; whether it can. */
int readable(int fd, int millis);

/* Two ends of an association. `many` sockets have the numbers too. */
struct ends {
    int listener, server, client;
    sctp_assoc_t at_server, at_client;
};
/* One-to-one: server is what accept gave. One-to-many: server is the listener. */
struct ends associate(int family, int type);
/* Sends with one control message, to ADDRESS if there is one. */
ssize_t send_with(int fd, const struct sockaddr_storage *address, const char *data, size_t length, int type,
                  const void *control, size_t control_length);
/* The next notification, which must be of a type, and of a length unless that is 0. */
void *next_event(int fd, int type, int length);
/* Wants a notification, for all associations that there are and will be. */
void subscribe(int fd, int type);
/* A receive buffer for the listeners of `associate`; 0 is what they begin with. */
extern int receive_buffer;
void part(struct ends *ends);

void check_socket_options(int type);
void check_ip_options(int family);
void check_association_options(int type);
void check_path_options(int type);
void check_extensions(int type);
void check_messages(int type);
void check_events(void);
void check_endings(void);
void check_functions(void);
void check_sending(void);
void check_ending(void);
void check_partial(int type);
void check_sharing(int type);
void check_polling(int type);
void check_peers(int type);

#endif
