// SPDX-License-Identifier: BSD-2-Clause
// The host side of the kernel for unit tests: fake RAM with its struct pages, WTD queues that the test
// runs by hand, threads that take turns, a clock that the test sets.
//
// A test:
//	static int setup(void **state)    { shim_init(1024); return 0; }      // 4 MB of RAM
//	static int teardown(void **state) { shim_finish(); return 0; }        // fails on a leak
//	... call the code under test; shim_run() runs what it posted; shim_advance() moves the clock ...
//
// What the shim gives (tests/host/shim*.c): panic, kprintf (to stderr when SHIM_VERBOSE is set in the
// environment), console_printf, spin locks and wtd_disable with the rank and sleep checks, WTDs,
// threads, wait queues, mutexes, the clock, pmm, kpages, pools, page wire counting, vmm hide/show and
// windows, trace (nothing), cpu_random, kstat_get. All of it is weak: a test that names kernel/pool.c
// (or page.c, wtd.c, ...) in its SOURCES gets the kernel's own instead.
//
// Nothing runs behind the test's back: WTDs run in shim_run, in shim_advance, and while the test's own
// thread sleeps (waitq_sleep, mutex_lock, thread_sleep_ns), which moves the clock to the next timer
// when nothing else is left and panics with "deadlock" when no timer is left either. Fast WTDs run on
// the test's stack, so cmocka's asserts work in them; WTDs that may sleep and threads run on stacks of
// their own, one at a time, where only ASSERT and PANIC may be used.
#pragma once

#include "kernel/base.h"

// Makes `frames` frames of fake RAM, direct-mapped at DIRECT_BASE, first physical address 4 MB (below
// is a hole that faults). Call first. Freed frames and pool objects are filled with junk, and free pool
// objects are poisoned for ASan.
void shim_init(size_t frames);
// Frees it all; fails the test if a frame, a pool object, a pinned page, a thread or a queued WTD is
// still there (pools' own frames do not count).
void shim_finish(void);
size_t shim_frames_free(void);
// From now on what lies in a freed object of a raw pool stays there, as in the kernel.
void shim_pools_keep(bool keep);
// What pmm_stats says the cache must leave free; frames / 32 unless set.
void shim_set_reserve(uint64_t frames);
// pmm_alloc fails from the k-th call from now on (0: the next), until shim_frames_fail_off.
void shim_frames_fail_after(uint32_t k);
void shim_frames_fail_off(void);

// Runs queued WTDs (both classes) and ready threads until none is left; returns how many ran. Armed
// ones run when shim_advance moves the clock past their due time.
size_t shim_run(void);
bool shim_run_one(void); // one of them; false: nothing to run
void shim_advance(uint64_t ns);
// From now on, whenever the last spin lock is dropped (or wtd_enable), pending fast WTDs run there with
// probability one half, as interrupts would make them. 0 turns it off. The seed is printed.
void shim_preempt(uint64_t seed);

// Random numbers from one printed seed: the environment's SHIM_SEED, else the time. cpu_random uses them
// too.
uint64_t shim_seed(void);
uint64_t shim_random(void);
uint64_t shim_random_below(uint64_t limit);

// Runs fn(arg) on this stack and returns true if it panicked; the message is shim_panic_text(). Locks
// taken meanwhile are dropped. A panic anywhere else prints its message and aborts.
bool shim_panics(void (*fn)(void *arg), void *arg);
const char *shim_panic_text(void);

// cache=unmapped on the host: vmm_hide really takes the page away (touching it is SIGSEGV). Set before
// the code under test looks at vmm_cache_unmapped.
void shim_set_unmapped(bool on);
// What a device does: reads and writes fake RAM by physical address, whether it is mapped or not.
void shim_dma_write(paddr_t addr, const void *from, size_t len);
void shim_dma_read(paddr_t addr, void *to, size_t len);
void shim_dma_fill(paddr_t addr, int byte, size_t len);
