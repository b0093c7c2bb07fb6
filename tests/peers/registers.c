/*
 * Loaded into User-Mode Linux (LD_PRELOAD), so that it boots on any processor.
 *
 * UML 6.1 keeps 2,696 bytes of a process's extended registers, and the host takes them back only whole
 * (PTRACE_SETREGSET answers EFAULT to less). A processor with AMX has 11,008: what UML does not know is given back as it is.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#define LARGEST 65536

typedef long (*ptrace_call)(int, pid_t, void *, void *);

long ptrace(enum __ptrace_request request, ...)
{
    /* UML has one thread, and small stacks. */
    static ptrace_call real;
    static uint8_t whole[LARGEST];
    va_list arguments;

    va_start(arguments, request);
    pid_t pid = va_arg(arguments, pid_t);
    void *address = va_arg(arguments, void *);
    void *data = va_arg(arguments, void *);
    va_end(arguments);
    if (real == NULL)
        real = (ptrace_call)dlsym(RTLD_NEXT, "ptrace");
    if (request == PTRACE_SETREGSET && (uintptr_t)address == NT_X86_XSTATE) {
        const struct iovec *known = data;
        struct iovec all = { whole, sizeof whole };

        if (real(PTRACE_GETREGSET, pid, address, &all) == 0 && all.iov_len > known->iov_len) {
            memcpy(whole, known->iov_base, known->iov_len);
            return real(request, pid, address, &all);
        }
    }
    return real((int)request, pid, address, data);
}
