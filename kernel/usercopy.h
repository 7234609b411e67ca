// SPDX-License-Identifier: BSD-2-Clause
// A program's memory, as the kernel may touch it: through these calls only. Each address is checked to lie
// in the lower half; pages that are not there yet are filled (which may sleep); what cannot be reached is
// -EFAULT. With SMAP the processor refuses every other access.
//
// For what system calls are told and answer (structures, paths, counts): counted here. Payload is copied in
// kernel/stream.c, which is made of the same steps and counts it as stream_head; nobody else may call those
// (tests/tidy).
#pragma once

#include "kernel/base.h"

#define USER_END 0x00007ffffffff000UL // one page below the last canonical one: SDM volume 2, SYSRET

struct trap_frame;

// Thread context of a program's thread. 0 or -EFAULT; after -EFAULT part may have been written.
int user_read(void *to, uintptr_t from, size_t bytes) MUST_CHECK;
int user_write(uintptr_t to, const void *from, size_t bytes) MUST_CHECK;
int user_zero(uintptr_t to, size_t bytes) MUST_CHECK;
// A string of less than `size` bytes, terminated: its length, -EFAULT or -ENAMETOOLONG.
int64_t user_read_text(char *to, uintptr_t from, size_t size) MUST_CHECK;
#define user_get(p, address) user_read((p), (address), sizeof(*(p)))
#define user_put(address, p) user_write((address), (p), sizeof(*(p)))

// The step that all of it is made of: within one page of the program's side; one that is not there is brought in. 0 or
// -EFAULT. kernel/stream.c's.
int user_step_in(void *to, uintptr_t from, size_t bytes) MUST_CHECK;
int user_step_out(uintptr_t to, const void *from, size_t bytes) MUST_CHECK;

// As far as it can go without sleeping: pages that are not there are a fault. Interrupts or WTDs off. 0 or
// -EFAULT. Within one page. kernel/stream.c's, and for a futex's word.
int user_read_now(void *to, uintptr_t from, size_t bytes) MUST_CHECK;
int user_write_now(uintptr_t to, const void *from, size_t bytes) MUST_CHECK;

// trap.c: a page fault in ring 0 at a program's address. True: go on at frame->rip (changed or not).
bool user_copy_fault(struct trap_frame *frame, uintptr_t address);
