#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* a test that includes this file says so itself, before anything else */
#endif
#include "tests/faults/faults.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_int fault_kind = -1, fault_action;
static atomic_long fault_at, fault_seen;

void fault_arm(FaultKind kind, long n, int action) {
    fault_action = action;
    fault_at = n;
    fault_seen = 0;
    fault_kind = (int)kind;
}

void fault_disarm(void) {
    fault_kind = -1;
}

long fault_count(void) {
    return fault_seen;
}

/* Counts a call. 0: let it through; else the action. */
static int fault_due(FaultKind kind) {
    int armed = fault_kind;
    if (armed != (int)kind && armed != FAULT_ANY) return 0;
    long i = atomic_fetch_add(&fault_seen, 1);
    if (i != fault_at && !(fault_action == FAULT_FULL && i > fault_at)) return 0;
    if (fault_action == FAULT_KILL) kill(getpid(), SIGKILL);
    return fault_action;
}

/* For calls other than write: does this one fail? Then errno is set. */
static int fault_fails(FaultKind kind) {
    int action = fault_due(kind);
    if (action == FAULT_TEAR) kill(getpid(), SIGKILL);
    if (action == FAULT_FULL) action = ENOSPC;
    if (action <= 0) return 0;
    errno = action;
    return 1;
}

ssize_t write(int fd, const void *data, size_t size) {
    int action = fault_due(FAULT_WRITE);
    if (action == FAULT_FULL) action = ENOSPC;
    if (action > 0) {
        errno = action;
        return -1;
    }
    if (action == FAULT_FLIP && size > 0) {
        char *copy = malloc(size);
        if (!copy) abort();
        memcpy(copy, data, size);
        copy[size / 2] ^= 1;
        ssize_t n = syscall(SYS_write, fd, copy, size);
        free(copy);
        return n;
    }
    if ((action == FAULT_SHORT || action == FAULT_TEAR) && size > 1) size /= 2;
    ssize_t n = syscall(SYS_write, fd, data, size);
    if (action == FAULT_TEAR) kill(getpid(), SIGKILL);
    return n;
}

int fsync(int fd) {
    return fault_fails(FAULT_SYNC) ? -1 : (int)syscall(SYS_fsync, fd);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags) {
    return fault_fails(FAULT_RENAME) ? -1 : (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to) {
    return renameat2(from_fd, from, to_fd, to, 0);
}

int rename(const char *from, const char *to) {
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int link(const char *from, const char *to) {
    return fault_fails(FAULT_LINK) ? -1 : (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int symlinkat(const char *target, int fd, const char *path) {
    return fault_fails(FAULT_LINK) ? -1 : (int)syscall(SYS_symlinkat, target, fd, path);
}

int symlink(const char *target, const char *path) {
    return symlinkat(target, AT_FDCWD, path);
}

int mkdirat(int fd, const char *path, mode_t mode) {
    return fault_fails(FAULT_MAKE) ? -1 : (int)syscall(SYS_mkdirat, fd, path, mode);
}

int mkdir(const char *path, mode_t mode) {
    return mkdirat(AT_FDCWD, path, mode);
}

int unlinkat(int fd, const char *path, int flags) {
    return fault_fails(FAULT_REMOVE) ? -1 : (int)syscall(SYS_unlinkat, fd, path, flags);
}

int unlink(const char *path) {
    return unlinkat(AT_FDCWD, path, 0);
}

int open(const char *path, int flags, ...) {
    mode_t mode = 0;
    if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) {
        va_list args;
        va_start(args, flags);
        mode = va_arg(args, mode_t);
        va_end(args);
    }
    if ((flags & O_ACCMODE) != O_RDONLY && fault_fails(FAULT_OPEN)) return -1;
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

/* For LD_PRELOAD. What cannot be understood ends the program: a test that tests nothing is worse. */
__attribute__((constructor)) static void fault_from_environment(void) {
    static const char *const kind[] = {"write", "sync", "rename", "link", "open", "make", "remove", "any"};
    static const struct {
        const char *name;
        int action;
    } action[] = {{"KILL", FAULT_KILL}, {"TEAR", FAULT_TEAR}, {"SHORT", FAULT_SHORT}, {"FLIP", FAULT_FLIP},
                  {"FULL", FAULT_FULL}, {"EIO", EIO},         {"ENOSPC", ENOSPC},     {"EDQUOT", EDQUOT},
                  {"EINTR", EINTR},     {"EACCES", EACCES},   {"EMFILE", EMFILE},     {"EROFS", EROFS},
                  {"EXDEV", EXDEV},     {"EPERM", EPERM}};
    const char *text = getenv("LETHE_FAULT");
    char k[16], a[16];
    long n;
    if (!text) return;
    if (sscanf(text, "%15[a-z]:%ld:%15[A-Z]", k, &n, a) == 3)
        for (int i = 0; i <= FAULT_ANY; i++)
            for (size_t j = 0; strcmp(k, kind[i]) == 0 && j < sizeof action / sizeof *action; j++)
                if (strcmp(a, action[j].name) == 0) {
                    fault_arm((FaultKind)i, n, action[j].action);
                    return;
                }
    fprintf(stderr, "faults: LETHE_FAULT=%s is not KIND:N:ACTION\n", text);
    abort();
}
