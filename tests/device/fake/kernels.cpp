#include "tests/device/fake/inside.h"

#include <cstdio>
#include <cstdlib>
#include <new>
#include <vector>

#include <sys/mman.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

__thread uint3 threadIdx, blockIdx, blockDim, gridDim;

namespace {

enum { STACK = 256 * 1024, PAGE = 4096, MOST_THREADS = 1024 };

struct Fiber {
    void *top;      /* saved stack pointer */
    uint8_t *stack; /* the lowest page is a guard */
    void *asan;     /* what ASan keeps for a stack that is left */
    uint3 thread;   /* the thread that runs here, */
    unsigned index; /* its place in the block, */
    unsigned mask;  /* the lanes it waits for, */
    int from;       /* the lane whose value it wants, */
    uint64_t value; /* and the value it gave */
    FakeGift gift;
};

/* The block that runs on this OS thread. */
struct Machine {
    const std::function<void()> *thread;
    unsigned count, next, done; /* threads of the block: all, the next to start, ended */
    Fiber *current;
    void *scheduler;
    void *asan;
    const void *own_stack;
    size_t own_size;
    std::vector<Fiber *> ready, idle, at_barrier;
    Fiber *of_thread[MOST_THREADS];
    unsigned arrived[MOST_THREADS / 32]; /* lanes of a warp that wait in an exchange */
};
thread_local Machine m;

[[noreturn]] void wrong(const char *what) {
    fprintf(stderr, "fake GPU: %s (block %u %u %u of %u threads)\n", what, blockIdx.x, blockIdx.y, blockIdx.z,
            m.count);
    abort();
}

} // namespace

#ifndef __x86_64__
#error "the fake GPU knows how to leave a stack on x86-64 alone"
#endif
/* fake_switch(save, to): puts the stack pointer into *save and goes on where the stack `to` was left. */
extern "C" void fake_switch(void **save, void *to);
asm(".text\n.globl fake_switch\n.type fake_switch, @function\nfake_switch:\n"
    "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "mov %rsp, (%rdi)\nmov %rsi, %rsp\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n");

namespace {

void arrived_on_fiber() {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(m.current->asan, &m.own_stack, &m.own_size);
#endif
}

void fiber_leave() {
    Fiber *f = m.current;
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(&f->asan, m.own_stack, m.own_size);
#endif
    fake_switch(&f->top, m.scheduler);
    arrived_on_fiber();
}

void fiber_enter(Fiber *f) {
    m.current = f;
    threadIdx = f->thread;
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(&m.asan, f->stack + PAGE, STACK - PAGE);
#endif
    fake_switch(&m.scheduler, f->top);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(m.asan, nullptr, nullptr);
#endif
}

/* A fiber takes threads while there are any, then waits in the pool for the next block. */
void fiber_main() {
    arrived_on_fiber();
    for (;;) {
        Fiber *f = m.current;
        while (m.next < m.count) {
            unsigned i = f->index = m.next++;
            f->thread = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
            threadIdx = f->thread;
            m.of_thread[i] = f;
            (*m.thread)();
            m.of_thread[i] = nullptr;
            m.done++;
        }
        m.idle.push_back(f);
        fiber_leave();
    }
}

Fiber *fiber_make() {
    void *p =
        mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED || mprotect(p, PAGE, PROT_NONE) != 0) wrong("no memory for the stack of a thread");
    Fiber *f = new ((uint8_t *)p + STACK - (sizeof *f + 63) / 64 * 64) Fiber(); /* above its stack */
    f->stack = (uint8_t *)p;
    void **top = (void **)f - 8; /* six registers, where to go, and no way back */
    top[6] = (void *)fiber_main;
    f->top = top;
    return f;
}

void block_run() {
    m.next = m.done = 0;
    memset(m.arrived, 0, sizeof m.arrived);
    for (;;) {
        Fiber *f = nullptr;
        std::vector<Fiber *> *from = !m.ready.empty() ? &m.ready : m.next < m.count ? &m.idle : nullptr;
        if (!from) break;
        if (from->empty()) {
            f = fiber_make();
        } else {
            f = from->back();
            from->pop_back();
        }
        fiber_enter(f);
    }
    if (m.done < m.count) wrong("a barrier or shuffle that not all of its threads reach");
}

/* The lanes of a warp that there are: blocks need not be whole warps. */
unsigned lanes_of(unsigned warp) {
    unsigned rest = m.count - warp * 32;
    return rest >= 32 ? 0xFFFFFFFFu : (1u << rest) - 1;
}

/* All lanes of the mask have come: each gets its value, and all but the last go into the queue. */
void warp_release(unsigned warp, unsigned mask) {
    unsigned votes = 0;
    Fiber *const *lane = m.of_thread + warp * 32;
    for (int i = 0; i < 32; i++)
        if (mask >> i & 1) votes |= (unsigned)(lane[i]->value != 0) << i;
    for (int i = 0; i < 32; i++) {
        if (!(mask >> i & 1)) continue;
        if (lane[i]->mask != mask) wrong("lanes of one exchange that name different masks");
        if (!(mask >> lane[i]->from & 1)) wrong("a shuffle from a lane that takes no part");
        lane[i]->gift = {lane[lane[i]->from]->value, votes};
        if (lane[i] != m.current) m.ready.push_back(lane[i]);
    }
    m.arrived[warp] &= ~mask;
}

} // namespace

void fake_block_wait() {
    if (m.at_barrier.size() + 1 < m.count) {
        m.at_barrier.push_back(m.current);
        fiber_leave();
        return;
    }
    m.ready.insert(m.ready.end(), m.at_barrier.rbegin(), m.at_barrier.rend());
    m.at_barrier.clear();
}

FakeGift fake_exchange(unsigned mask, uint64_t mine, int from) {
    Fiber *f = m.current;
    unsigned warp = f->index / 32;
    mask &= lanes_of(warp);
    if (!(mask >> f->index % 32 & 1)) wrong("a lane takes part in an exchange whose mask leaves it out");
    f->mask = mask;
    f->from = from;
    f->value = mine;
    m.arrived[warp] |= 1u << f->index % 32;
    if ((m.arrived[warp] & mask) == mask)
        warp_release(warp, mask);
    else
        fiber_leave();
    return f->gift;
}

bool fake_kernel_fits(dim3 blocks, dim3 threads) {
    return blocks.x && blocks.y && blocks.z && threads.x && threads.y && threads.z &&
           (uint64_t)threads.x * threads.y * threads.z <= MOST_THREADS && threads.z <= 64 &&
           blocks.x <= 0x7FFFFFFFu && blocks.y <= 65535 && blocks.z <= 65535;
}

void fake_kernel_run(dim3 blocks, dim3 threads, const std::function<void()> &thread) {
    gridDim = {blocks.x, blocks.y, blocks.z};
    blockDim = {threads.x, threads.y, threads.z};
    m.thread = &thread;
    m.count = threads.x * threads.y * threads.z;
    for (blockIdx.z = 0; blockIdx.z < blocks.z; blockIdx.z++)
        for (blockIdx.y = 0; blockIdx.y < blocks.y; blockIdx.y++)
            for (blockIdx.x = 0; blockIdx.x < blocks.x; blockIdx.x++) block_run();
}
