/* Bad addresses, lengths and counts. */
#include "case.h"

void addresses(void) {
    int ends[2];
    char bytes[16] = "x";
    pair(ends);
    struct sockaddr_in name = loopback(1);
    socklen_t length = sizeof name;
    FAILS(bind(socket(AF_INET, SOCK_STREAM, SCTP), NOWHERE, sizeof name), EFAULT);
    FAILS(bind(socket(AF_INET, SOCK_STREAM, SCTP), (void *)&name, 1000), EINVAL);
    FAILS(connect(socket(AF_INET, SOCK_STREAM, SCTP), NOWHERE, sizeof name), EFAULT);
    FAILS(connect(socket(AF_INET, SOCK_STREAM, SCTP), (void *)&name, -1), EINVAL);
    FAILS(send(ends[0], NOWHERE, 10, 0), EFAULT);
    FAILS(send(ends[0], NULL, 10, 0), EFAULT);
    FAILS(write(ends[0], (void *)-1, 10), EFAULT);
    FAILS(send(ends[0], bytes, (size_t)1 << 40, 0), EMSGSIZE);
    FAILS(sendto(ends[0], bytes, 1, 0, NOWHERE, sizeof name), EFAULT);
    FAILS(sendto(ends[0], bytes, 1, 0, (void *)&name, 129), EINVAL);
    FAILS(sendmsg(ends[0], NOWHERE, 0), EFAULT);
    FAILS(recvmsg(ends[0], NOWHERE, 0), EFAULT);
    struct iovec parts[1100];
    for (int at = 0; at < 1100; at++) {
        parts[at].iov_base = bytes;
        parts[at].iov_len = 1;
    }
    struct msghdr message;
    memset(&message, 0, sizeof message);
    message.msg_iov = parts;
    message.msg_iovlen = 1100;
    FAILS(sendmsg(ends[0], &message, 0), EMSGSIZE);
    FAILS(recvmsg(ends[0], &message, MSG_DONTWAIT), EMSGSIZE);
    FAILS(writev(ends[0], parts, 1100), EINVAL);
    FAILS(writev(ends[0], parts, -1), EINVAL);
    FAILS(readv(ends[0], parts, -1), EINVAL);
    /* The most parts, to one. */
    CHECK(writev(ends[0], parts, 1024) == 1024);
    char long_one[2000];
    CHECK(recv(ends[1], long_one, sizeof long_one, 0) == 1024 && long_one[1023] == 'x');
    /* From one, to the most. */
    CHECK(send(ends[0], long_one, 1000, 0) == 1000);
    CHECK(readv(ends[1], parts, 1024) == 1000);
    parts[0].iov_len = (size_t)-1;
    message.msg_iovlen = 1;
    FAILS(sendmsg(ends[0], &message, 0), EINVAL);
    parts[0].iov_len = 1;
    message.msg_iov = NOWHERE;
    FAILS(sendmsg(ends[0], &message, 0), EFAULT);
    FAILS(recvmsg(ends[0], &message, MSG_DONTWAIT), EFAULT);
    message.msg_iov = parts;
    message.msg_control = NOWHERE;
    message.msg_controllen = 64;
    FAILS(sendmsg(ends[0], &message, 0), EFAULT);
    message.msg_controllen = 1 << 30;
    FAILS(sendmsg(ends[0], &message, 0), ENOBUFS);
    message.msg_control = NULL;
    message.msg_controllen = 0;
    message.msg_name = bytes;
    message.msg_namelen = -1;
    FAILS(sendmsg(ends[0], &message, 0), EINVAL);
    FAILS(recvmsg(ends[0], &message, MSG_DONTWAIT), EINVAL);
    /* What cannot be given to the program is lost, as with a kernel; the socket is not. */
    say(ends[0], "lost");
    FAILS(recv(ends[1], NOWHERE, 10, 0), EFAULT);
    say(ends[0], "again");
    hear(ends[1], "again");
    say(ends[0], "named");
    FAILS(recvfrom(ends[1], bytes, sizeof bytes, 0, (void *)&name, NOWHERE), EFAULT);
    int one = 1;
    socklen_t size = sizeof one;
    FAILS(setsockopt(ends[0], SOL_SCTP_, SCTP_NODELAY_, NOWHERE, sizeof one), EFAULT);
    FAILS(setsockopt(ends[0], SOL_SOCKET, SO_RCVBUF, NOWHERE, sizeof one), EFAULT);
    FAILS(setsockopt(ends[0], SOL_SCTP_, SCTP_NODELAY_, &one, -1), EINVAL);
    FAILS(getsockopt(ends[0], SOL_SCTP_, SCTP_NODELAY_, NOWHERE, &size), EFAULT);
    FAILS(getsockopt(ends[0], SOL_SCTP_, SCTP_NODELAY_, &one, NOWHERE), EFAULT);
    size = -1;
    FAILS(getsockopt(ends[0], SOL_SCTP_, SCTP_NODELAY_, &one, &size), EINVAL);
    FAILS(getsockname(ends[0], NOWHERE, &length), EFAULT);
    FAILS(getsockname(ends[0], (void *)&name, NOWHERE), EFAULT);
    FAILS(getpeername(ends[0], NULL, NULL), EFAULT);
    FAILS(ioctl(ends[0], FIONREAD, NOWHERE), EFAULT);
    FAILS(poll(NOWHERE, 3, 0), EFAULT);
    FAILS(recvmmsg(ends[0], NOWHERE, 1, 0, NULL), EFAULT);
    FAILS(sendmmsg(ends[0], NOWHERE, 1, 0), EFAULT);
    /* Half of the memory is there. */
    long page = sysconf(_SC_PAGESIZE);
    char *half = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(half + page, page);
    FAILS(send(ends[0], half + page - 10, 20, 0), EFAULT);
    char large[100];
    memset(large, 'y', sizeof large);
    CHECK(send(ends[0], large, sizeof large, 0) == sizeof large);
    FAILS(recv(ends[1], half + page - 10, 100, 0), EFAULT);
    say(ends[0], "well");
    hear(ends[1], "well");
    int listening = listener(SOCK_STREAM);
    int client = joined(port_of(listening));
    FAILS(accept(listening, NOWHERE, &length), EFAULT);
    CHECK(client >= 0);
    FAILS(accept4(listening, NULL, NULL, 12345), EINVAL);
}

/* The same where the kernel does not let a process look at itself. */
void forbidden(void) {
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_process_vm_readv, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_process_vm_writev, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof program / sizeof *program, program};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
    addresses();
}
