// SPDX-License-Identifier: BSD-2-Clause
// Moving bytes over the border (kernel/usercopy.h). Page by page of the program's side, interrupts off
// while one is moved: so a fault is about the whole piece, and SMAP is open for nobody else. The payload's copy, made
// of the same steps, stands in kernel/stream.c; what is moved for calls themselves is counted here.
#include "kernel/usercopy.h"
#include "kernel/cpu.h"
#include "kernel/cpu_private.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/process.h"
#include "kernel/trap.h"
#include "kernel/uspace.h"

bool user_move(void *to, const void *from, size_t bytes, bool smap); // user.asm
extern char user_move_end[], user_move_fault[];

static uint64_t call_bytes; // atomic
KSTAT_COUNTER(call_bytes, "pagewire_user_call_bytes_total",
	      "Bytes of system calls themselves (structures, names, counts) copied from and to "
	      "programs; payload is in pagewire_copy_bytes_total.");

static bool in_range(uintptr_t address, size_t bytes)
{
	return address < USER_END && bytes <= USER_END - address;
}

static bool move(void *to, const void *from, size_t bytes)
{
	bool on = irq_save();
	bool failed = user_move(to, from, bytes, cpu_has.smap);

	irq_restore(on);
	return !failed;
}

static size_t to_page_end(uintptr_t address, size_t bytes)
{
	return MIN(bytes, PAGE_SIZE - (address & (PAGE_SIZE - 1)));
}

// Moves a piece; a page that is missing is brought in and the piece is moved again. Of a shared file it may be gone by
// then (kernel/filemap.c): once more, as the program would.
static int step(void *to, const void *from, size_t bytes, uintptr_t user, unsigned access)
{
	if (!in_range(user, bytes))
		return -EFAULT;
	while (!move(to, from, bytes))
		if (uspace_fault(process_space(), user, access))
			return -EFAULT;
	return 0;
}

int user_step_in(void *to, uintptr_t from, size_t bytes)
{
	return step(to, (const void *)from, bytes, from, USPACE_READ);
}

int user_step_out(uintptr_t to, const void *from, size_t bytes)
{
	return step((void *)to, from, bytes, to, USPACE_WRITE);
}

static void count(size_t bytes)
{
	__atomic_fetch_add(&call_bytes, bytes, __ATOMIC_RELAXED);
}

int user_read(void *to, uintptr_t from, size_t bytes)
{
	int error = in_range(from, bytes) ? 0 : -EFAULT;

	count(bytes);
	while (!error && bytes) {
		size_t piece = to_page_end(from, bytes);

		error = user_step_in(to, from, piece);
		to = (char *)to + piece;
		from += piece;
		bytes -= piece;
	}
	return error;
}

int user_write(uintptr_t to, const void *from, size_t bytes)
{
	int error = in_range(to, bytes) ? 0 : -EFAULT;

	count(bytes);
	while (!error && bytes) {
		size_t piece = to_page_end(to, bytes);

		error = user_step_out(to, from, piece);
		from = (const char *)from + piece;
		to += piece;
		bytes -= piece;
	}
	return error;
}

int user_zero(uintptr_t to, size_t bytes)
{
	static const uint8_t zeros[256];
	int error = 0;

	while (!error && bytes) {
		size_t piece = MIN(bytes, sizeof(zeros));

		error = user_write(to, zeros, piece);
		to += piece;
		bytes -= piece;
	}
	return error;
}

int64_t user_read_text(char *to, uintptr_t from, size_t size)
{
	size_t have = 0;

	while (have < size) {
		size_t piece = to_page_end(from + have, MIN(size - have, 64UL));
		const char *end;
		int error = user_read(to + have, from + have, piece);

		if (error)
			return error;
		end = memchr(to + have, 0, piece);
		if (end)
			return end - to;
		have += piece;
	}
	return -ENAMETOOLONG;
}

int user_read_now(void *to, uintptr_t from, size_t bytes)
{
	return in_range(from, bytes) && move(to, (const void *)from, bytes) ? 0 : -EFAULT;
}

int user_write_now(uintptr_t to, const void *from, size_t bytes)
{
	return in_range(to, bytes) && move((void *)to, from, bytes) ? 0 : -EFAULT;
}

bool user_copy_fault(struct trap_frame *frame, uintptr_t address)
{
	bool ours = frame->rip >= (uintptr_t)user_move && frame->rip < (uintptr_t)user_move_end;

	if (!ours || address >= USER_END)
		return false;
	frame->rip = (uintptr_t)user_move_fault;
	return true;
}
