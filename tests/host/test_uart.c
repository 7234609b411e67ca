// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: drivers/uart.c
// The serial ports against a fake one: what it sends, its interrupt line (edge-triggered: only a rise is told), a 16450
// without FIFOs, a transmitter that is stuck, and a port that reads as ones all of a sudden.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "kernel/cpu.h"
#include "kernel/io.h"
#include "kernel/irq.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/serial.h"
#include "kernel/wtd.h"
#include "shim.h"

#define BASE  0x3f8
#define FIFOS 0xc0

static struct {
	bool there, has_fifos, stuck, gone;
	uint8_t regs[8], in_fifo; // in_fifo: characters that the transmitter has not sent
	char sent[100000];
	size_t sent_len, lost, reads;
	char typed[64];
	size_t typed_len, typed_taken;
	bool thr_empty; // the cause, cleared by reading it
	bool line;
	const char *types_meanwhile; // comes between the last look at LSR and the next write
} port;
static irq_handler handler;
static void *handler_arg;
static unsigned edges;

static bool data_waits(void)
{
	return port.typed_taken < port.typed_len;
}
static void update_line(void)
{
	bool now = (port.regs[1] & 1 && data_waits()) || (port.regs[1] & 2 && port.thr_empty);
	edges += now && !port.line;
	port.line = now;
}
static void type(const char *text)
{
	memcpy(port.typed + port.typed_len, text, strlen(text));
	port.typed_len += strlen(text);
	update_line();
}

void outb(uint16_t where, uint8_t value)
{
	unsigned reg = where - BASE;
	if (!port.there || where < BASE || where > BASE + 7)
		return;
	if (reg == 0 && !(port.regs[3] & 0x80)) {
		if (port.types_meanwhile) {
			const char *text = port.types_meanwhile;
			port.types_meanwhile = NULL;
			type(text);
		}
		if (port.in_fifo == (port.has_fifos ? 16 : 1)) {
			port.lost++;
			return;
		}
		port.in_fifo++;
		port.thr_empty = false;
		port.sent[port.sent_len++ % sizeof port.sent] = (char)value;
	} else if (reg == 1 && !(port.regs[3] & 0x80)) {
		port.thr_empty |= value & 2 && !(port.regs[1] & 2) && !port.in_fifo;
		port.regs[1] = value;
	} else if (reg != 1) {
		port.regs[reg] = value;
	}
	update_line();
}
uint8_t inb(uint16_t where)
{
	unsigned reg = where - BASE;
	uint8_t value;
	port.reads++;
	if (!port.there || where < BASE || where > BASE + 7 || port.gone)
		return where == BASE + 2 && port.gone ? FIFOS
						      : 0xff; // an interrupt is pending, it says
	switch (reg) {
	case 0:
		value = data_waits() ? (uint8_t)port.typed[port.typed_taken++] : 0;
		break;
	case 2:
		value = port.has_fifos ? FIFOS : 0;
		if (port.regs[1] & 1 && data_waits()) {
			value |= 4;
		} else if (port.regs[1] & 2 && port.thr_empty) {
			value |= 2;
			port.thr_empty = false;
		} else {
			value |= 1;
		}
		break;
	case 5:
		value = (uint8_t)(data_waits() | (port.in_fifo ? 0 : 0x60));
		break;
	default:
		value = port.regs[reg];
	}
	update_line();
	return value;
}
// Time goes by: the transmitter empties.
static void send_out(void)
{
	if (port.stuck || !port.in_fifo)
		return;
	port.in_fifo = 0;
	port.thr_empty = true;
	update_line();
}
// As the I/O APIC does: the handler runs once for each rise.
static unsigned serve(void)
{
	unsigned served = 0;
	for (; edges; served++) {
		edges = 0;
		handler(handler_arg);
	}
	return served;
}

int irq_attach_line(unsigned line, bool level, bool active_low, irq_handler fn, void *arg,
		    const char *name)
{
	assert_false(level);
	handler = fn;
	handler_arg = arg;
	return 0;
}
void kprintf_add_sink(struct kprintf_sink *sink) {}

static char got[1024];
static size_t got_len;
static void got_byte(void *ctx, uint8_t byte)
{
	if (got_len < sizeof got - 1)
		got[got_len++] = (char)byte;
}

static int fresh(void **state)
{
	memset(&port, 0, sizeof port);
	memset(got, 0, sizeof got);
	got_len = edges = 0;
	port.there = true;
	port.has_fifos = true;
	return 0;
}
static void start(void)
{
	edges = 0;
	serial_init();
	serial_start_interrupts();
	serial_set_receive(SERIAL_1, got_byte, NULL);
	serve();
}

static void text_goes_out_by_interrupts(void **state)
{
	char text[300], want[301];
	for (size_t i = 0; i < sizeof text; i++)
		text[i] = (char)('a' + i % 26);
	memcpy(want, text, sizeof text);
	start();
	serial_write(SERIAL_1, text, sizeof text);
	for (int n = 0; n < 100 && port.sent_len < sizeof text; n++) {
		send_out();
		serve();
	}
	assert_int_equal(port.sent_len, sizeof text);
	assert_memory_equal(port.sent, want, sizeof text);
	assert_int_equal(port.lost, 0);
	assert_false(port.regs[1] & 2); // nothing left: its interrupt is off
}

static void without_fifos_a_character_at_a_time(void **state)
{
	port.has_fifos = false;
	start();
	serial_write(SERIAL_1, "hello, world", 12);
	for (int n = 0; n < 100 && port.sent_len < 12; n++) {
		send_out();
		serve();
	}
	assert_int_equal(port.lost, 0);
	assert_memory_equal(port.sent, "hello, world", 12);
}

// A character and the transmitter hold the line high; before both are served another comes, and it never falls.
static void a_character_that_comes_while_the_line_is_high_is_taken(void **state)
{
	start();
	serial_write(SERIAL_1, "0123456789abcdefghij", 20);
	type("x");
	send_out();
	port.types_meanwhile = "y";
	serve();
	type("z");
	serve();
	assert_string_equal(got, "xyz");
}

static void a_port_that_reads_as_ones_ends_the_interrupt(void **state)
{
	start();
	port.gone = true;
	port.reads = 0;
	handler(handler_arg);
	assert_true(port.reads < 20000);
	port.gone = false;
	got_len = 0;
	type("z");
	serve();
	assert_int_equal(got[got_len - 1], 'z');
}

static void nobody_waits_twice_for_a_stuck_transmitter(void **state)
{
	static char text[40000];
	memset(text, 'x', sizeof text);
	start();
	port.stuck = true;
	serial_write(SERIAL_1, text, sizeof text); // more than the ring takes
	assert_true(port.reads > 1000);		   // it was waited for
	port.reads = 0;
	for (int n = 0; n < 10; n++)
		serial_write(SERIAL_1, "line\n", 5);
	serial_flush();
	assert_true(port.reads < 300000); // flush's own wait, not ten more
	port.reads = 0;
	for (int n = 0; n < 10; n++)
		serial_write(SERIAL_1, text, sizeof text);
	assert_true(port.reads < 1000);
	port.stuck = false; // it goes on, and so does the text
	port.sent_len = 0;
	for (int n = 0; n < 10000 && (n < 10 || port.in_fifo); n++) {
		send_out();
		serve();
	}
	serial_write(SERIAL_1, "again", 5);
	for (int n = 0; n < 10; n++) {
		send_out();
		serve();
	}
	assert_memory_equal(port.sent + (port.sent_len - 5) % sizeof port.sent, "again", 5);
}

static void an_absent_port_is_not_written_to(void **state)
{
	port.there = false;
	serial_init();
	// What was found before stays found; a port at no address never is.
	assert_false(serial_present(SERIAL_2));
	serial_write(SERIAL_2, "x", 1);
}

// Last: it cannot be undone.
static void after_a_panic_text_is_out_before_the_call_returns(void **state)
{
	start();
	serial_set_polled();
	port.stuck = false;
	serial_write(SERIAL_1, "panic", 5);
	assert_memory_equal(port.sent, "panic", 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(an_absent_port_is_not_written_to, fresh),
	    cmocka_unit_test_setup(text_goes_out_by_interrupts, fresh),
	    cmocka_unit_test_setup(without_fifos_a_character_at_a_time, fresh),
	    cmocka_unit_test_setup(a_character_that_comes_while_the_line_is_high_is_taken, fresh),
	    cmocka_unit_test_setup(a_port_that_reads_as_ones_ends_the_interrupt, fresh),
	    cmocka_unit_test_setup(nobody_waits_twice_for_a_stuck_transmitter, fresh),
	    cmocka_unit_test_setup(after_a_panic_text_is_out_before_the_call_returns, fresh),
	};
	shim_init(64);
	return cmocka_run_group_tests_name("uart", tests, NULL, NULL);
}
