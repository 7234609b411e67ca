// SPDX-License-Identifier: BSD-2-Clause
// The console's thread: bytes from the first serial port and the keyboard go through the line editor to
// the commands; output goes to whatever kprintf goes to. A log line that comes while somebody types
// takes the typed line off the screen and puts it back behind itself.
//
//	interrupt: console_input -> ring, post -> fast WTD: wake -> thread: lineedit -> command
#include "kernel/console.h"
#include "kernel/console_private.h"
#include "kernel/cpu.h"
#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/lineedit.h"
#include "kernel/lock.h"
#include "kernel/panic.h"
#include "kernel/serial.h"
#include "kernel/thread.h"
#include "kernel/timer.h"
#include "kernel/wtd.h"

#define RING_BYTES 1024 // power of two: a pasted page; more than a line is typed ahead at most
#define EMIT_BYTES 64	// at a time: interrupts are off meanwhile, 6 ms at 115200 baud

static uint8_t ring[RING_BYTES];   // (I) interrupts off
static uint32_t ring_in, ring_out; // (I) free-running
static uint64_t ring_full;
KSTAT_COUNTER(ring_full, "pagewire_console_lost_total", "Characters typed faster than taken.");

static void wake_reader(struct wtd *work);
static struct wtd input_work = WTD_INIT(wake_reader, "console input");
static struct spinlock input_lock = SPINLOCK_INIT("console input", RANK_HTTP);
static struct waitq input_waitq; // (input_lock)

static struct lineedit edit; // changed with interrupts off, as the log redraws it
static bool editing;	     // (I) prompt and line are to be on the screen
static bool hidden;	     // (I) but a piece of the log is where they were
static bool live;	     // each line printed erases what was in its row

void console_input(uint8_t byte)
{
	bool on = irq_save();
	if (ring_in - ring_out < RING_BYTES)
		ring[ring_in++ % RING_BYTES] = byte;
	else
		ring_full++;
	irq_restore(on);
	wtd_post_fast(&input_work);
}

static void serial_input(void *ctx, uint8_t byte)
{
	console_input(byte);
}

static void wake_reader(struct wtd *work)
{
	waitq_wake_one(&input_waitq);
}

static int take_byte(void)
{
	bool on = irq_save();
	int byte = ring_in == ring_out ? -1 : ring[ring_out++ % RING_BYTES];
	irq_restore(on);
	return byte;
}

int console_key(uint64_t ns)
{
	uint64_t end = clock_ns() + ns;
	spin_lock_wtd(&input_lock);
	int byte = take_byte();
	while (byte < 0) {
		uint64_t now = clock_ns();
		if (now >= end)
			break;
		waitq_sleep_for(&input_waitq, &input_lock, end - now);
		byte = take_byte();
	}
	spin_unlock_wtd(&input_lock);
	return byte;
}

static uint8_t wait_byte(void)
{
	spin_lock_wtd(&input_lock);
	int byte = take_byte();
	while (byte < 0) {
		waitq_sleep(&input_waitq, &input_lock);
		byte = take_byte();
	}
	spin_unlock_wtd(&input_lock);
	return (uint8_t)byte;
}

// In pieces: interrupts are off while one goes out.
static void emit(const char *text, size_t len)
{
	while (len) {
		size_t count = MIN(len, (size_t)EMIT_BYTES);
		kprintf_emit(text, count);
		text += count;
		len -= count;
	}
}

void console_printf(const char *format, ...)
{
	char text[1024];
	va_list args;
	va_start(args, format);
	int len = kvsnprintf(text, sizeof text, format, args);
	va_end(args);
	const char *p = text, *end = text + MIN((size_t)MAX(len, 0), sizeof text - 1);
	while (p < end) {
		const char *line_end = live ? memchr(p, '\n', (size_t)(end - p)) : NULL;
		emit(p, (size_t)((line_end ?: end) - p));
		if (!line_end)
			break;
		emit("\x1b[K\n", 4);
		p = line_end + 1;
	}
}

void console_live(bool on)
{
	live = on;
}

void console_clear(void)
{
	console_printf("\x1b[H\x1b[2J");
}

static void write_edit(void *ctx, const char *text, size_t len)
{
	kprintf_emit(text, len);
}

static void log_begins(void)
{
	if (editing && !hidden) {
		lineedit_hide(&edit);
		hidden = true;
	}
}

static void log_ends(bool line_start)
{
	if (hidden && line_start) {
		hidden = false;
		lineedit_show(&edit);
	}
}
static const struct kprintf_guard guard = {.before = log_begins, .after = log_ends};

static void edit_on(void (*begin)(struct lineedit *e))
{
	bool on = irq_save();
	editing = true;
	hidden = false;
	begin(&edit);
	irq_restore(on);
}

static void edit_off(void)
{
	bool on = irq_save();
	editing = false;
	irq_restore(on);
}

// Prints something below the line being edited, and the line again behind it.
static void aside(void (*print)(void))
{
	edit_off();
	console_printf("\n");
	print();
	edit_on(lineedit_show);
}

static void print_help(void)
{
	console_help(1, NULL);
}

static void take_line(void)
{
	char line[LINEEDIT_BYTES];
	edit_off();
	kstrlcpy(line, edit.text, sizeof line);
	console_run(line);
	edit_on(lineedit_start);
}

static void console_thread(void *arg)
{
	console_autoexec();
	edit_on(lineedit_start);
	for (;;) {
		uint8_t byte = wait_byte();
		bool on = irq_save();
		enum lineedit_event event = lineedit_byte(&edit, byte);
		irq_restore(on);
		if (event == LINE_DONE) {
			take_line();
		} else if (event == LINE_HELP) {
			aside(print_help);
		} else if (event == LINE_CLEAR) {
			console_clear();
			edit_on(lineedit_show);
		}
	}
}

void console_start(void)
{
	edit.prompt = ":";
	edit.columns = CONSOLE_COLUMNS;
	edit.write = write_edit;
	edit.complete = console_complete;
	waitq_init(&input_waitq);
	if (!thread_create("console", THREAD_NORMAL, console_thread, NULL)) {
		kprintf("console: no memory for its thread\n");
		return;
	}
	kprintf_set_guard(&guard);
	serial_set_receive(SERIAL_1, serial_input, NULL);
}
