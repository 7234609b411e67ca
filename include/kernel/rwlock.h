// SPDX-License-Identifier: BSD-2-Clause
// A lock that sleeps and knows two ways of holding it: shared (any number at a time) and exclusive (one,
// alone). Thread or worker context. First come, first served: who asks while others wait goes behind them,
// shared or not, so neither readers nor writers can starve the other side.
//
//	rw_lock_shared(&l);    ... look ...    rw_unlock_shared(&l);
//	rw_lock_exclusive(&l); ... change ...  rw_unlock_exclusive(&l);
//
// A holder that has it exclusive may take it shared as well (functions that only read are called by who
// changes): that nests and costs nothing. Any other nesting is a mistake: shared inside shared waits for ever
// as soon as a writer has come in between; exclusive inside exclusive is a panic.
#pragma once

#include "kernel/lock.h"
#include "kernel/thread.h"

struct rwlock_waiter;
struct rwlock {
	struct spinlock lock;
	uint32_t readers;		     // (L) holding it shared
	uint32_t nested;		     // (L) times that the writer holds it shared as well
	struct thread *writer;		     // (L) holding it exclusive
	struct rwlock_waiter *first, **last; // (L) in the order they came
};

void rwlock_init(struct rwlock *l, const char *name);
void rw_lock_shared(struct rwlock *l);
void rw_unlock_shared(struct rwlock *l);
void rw_lock_exclusive(struct rwlock *l);
void rw_unlock_exclusive(struct rwlock *l);
bool rw_held_exclusive(const struct rwlock *l); // by the running thread
