/* faults: makes the n-th system call of a kind fail, tear, lie or kill, on purpose. Two ways to use it:
 *   a test includes faults.c: its definitions then stand before the C library's, and fault_arm works;
 *   any program: cc -shared -fPIC -o faults.so tests/faults/faults.c
 *                LETHE_FAULT=write:3:ENOSPC LD_PRELOAD=./faults.so ./lethe train ...
 * Kinds: write sync rename link open make remove any. Actions: a name of errno (EIO ENOSPC EDQUOT EINTR
 * EACCES EMFILE EROFS EXDEV EPERM), or KILL   SIGKILL before the call        SHORT  a write does half of it,
 * and says so TEAR   half a write, then SIGKILL     FLIP   a write changes one bit, and says that all is well
 *   FULL   this call and every later one of the kind fail with ENOSPC, as on a full disk */
#ifndef LETHE_FAULTS_H
#define LETHE_FAULTS_H

typedef enum {
    FAULT_WRITE,
    FAULT_SYNC,
    FAULT_RENAME,
    FAULT_LINK, /* hard and symbolic */
    FAULT_OPEN, /* to write or create: reading is not counted */
    FAULT_MAKE, /* folders */
    FAULT_REMOVE,
    FAULT_ANY
} FaultKind;

enum { FAULT_KILL = -1, FAULT_TEAR = -2, FAULT_SHORT = -3, FAULT_FLIP = -4, FAULT_FULL = -5 };

void fault_arm(FaultKind kind, long n, int action); /* the n-th call from now, from 0; errno if positive */
void fault_disarm(void);
long fault_count(void); /* calls of the kind since it was armed */

#endif
