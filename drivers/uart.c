// SPDX-License-Identifier: BSD-2-Clause
// 16550 serial ports. Contract in include/kernel/serial.h. Registers: NS16550AF data sheet, table II.
//
// Text goes into the port's ring; from there the transmitter takes sixteen characters whenever its FIFO
// is empty: at once if it is empty now, else when the transmitter-empty interrupt says so. What is
// queued (serial_queue) is left to a fast WTD, so that the lines of many requests go out together
// behind them. Before there are interrupts, after a panic, and when the ring is full in a context that
// cannot wait, the ring is drained by polling.
#include "kernel/cpu.h"
#include "kernel/io.h"
#include "kernel/irq.h"
#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/serial.h"
#include "kernel/wtd.h"

enum {
	REG_DATA = 0, // RBR, THR; divisor low while DLAB
	REG_IER = 1,  // divisor high while DLAB
	REG_IIR = 2,  // read
	REG_FCR = 2,  // write
	REG_LCR = 3,
	REG_MCR = 4,
	REG_LSR = 5,
	REG_SCRATCH = 7,
};
enum {
	IER_RECEIVED = 0x01,
	IER_THR_EMPTY = 0x02,
	IIR_NONE = 0x01,
	IIR_FIFOS = 0xc0,
	FCR_ENABLE_CLEAR_14 = 0xc7, // FIFOs on and empty, receive trigger at 14
	LCR_8N1 = 0x03,
	LCR_DLAB = 0x80,
	MCR_DTR_RTS_OUT2 = 0x0b, // OUT2 gates the interrupt line
	LSR_DATA = 0x01,
	LSR_THR_EMPTY = 0x20,
	LSR_ALL_EMPTY = 0x40, // the shift register too
};
#define FIFO_BYTES 16
#define PUSH_BYTES 256 // at a time, of a port that never says it is full (an emulated one)
// A full FIFO drains in 1.4 ms. One read of a port takes about a microsecond on an ISA bus.
#define DRAIN_POLLS 100000
#define RING_BYTES  32768 // power of two: about 300 lines of an access log
// One interrupt's: a port that is broken or gone (a management controller's is, while that restarts) reads as
// ones, data ready for ever. A port that is well has no more than its FIFO, and some that come meanwhile.
#define RECEIVE_MAX 256
#define CAUSES_MAX  16

struct uart {
	uint16_t base;
	uint8_t line;
	bool present;
	bool interrupts;
	uint8_t fifo;	  // characters its transmitter takes when it is empty
	bool stuck;	  // it took nothing for DRAIN_POLLS: nobody waits for it until it does
	uint8_t ier;	  // this and everything below: interrupts off
	bool push_posted; // push_work is queued
	char *ring;
	uint32_t ring_in, ring_out; // free-running
	void (*receive)(void *ctx, uint8_t byte);
	void *receive_ctx;
	struct wtd push_work;
};

static char ring_of_port_1[RING_BYTES], ring_of_port_2[RING_BYTES];
static struct uart uarts[SERIAL_PORTS] = {
    {.base = 0x3f8, .line = 4, .ring = ring_of_port_1},
    {.base = 0x2f8, .line = 3, .ring = ring_of_port_2},
};

static bool polled; // set once: a panic has begun

static uint64_t dropped[SERIAL_PORTS];
KSTAT_COUNTER_L(serial_dropped_1, "pagewire_serial_dropped_bytes_total", "port=\"1\"",
		"Characters not sent: port absent, stuck, or its ring full", dropped[0]);
KSTAT_COUNTER_L(serial_dropped_2, "pagewire_serial_dropped_bytes_total", "port=\"2\"",
		"Characters not sent: port absent, stuck, or its ring full", dropped[1]);

// Everything below but serial_write runs with interrupts off.

static void uart_set_ier(struct uart *u, uint8_t ier)
{
	if (ier != u->ier) {
		u->ier = ier;
		outb(u->base + REG_IER, ier);
	}
}

// Gives the transmitter what it takes now; the interrupt is on while something is left.
static void uart_push(struct uart *u)
{
	uint32_t end = u->ring_out + PUSH_BYTES;

	while (u->ring_out != u->ring_in && u->ring_out != end &&
	       inb(u->base + REG_LSR) & LSR_THR_EMPTY) {
		uint32_t at = u->ring_out % RING_BYTES;
		uint32_t n = MIN(u->ring_in - u->ring_out, MIN(end - u->ring_out, u->fifo));

		n = MIN(n, RING_BYTES - at);
		outsb(u->base + REG_DATA, u->ring + at, n);
		u->ring_out += n;
		u->stuck = false;
	}
	if (!u->interrupts)
		return;
	if (u->ring_out != u->ring_in)
		uart_set_ier(u, u->ier | IER_THR_EMPTY);
	else
		uart_set_ier(u, u->ier & (uint8_t)~IER_THR_EMPTY);
}

static unsigned patience(const struct uart *u)
{
	return u->stuck ? 1 : DRAIN_POLLS;
}

// Until the ring is empty, or the port is stuck and its text is given up.
static void uart_drain(struct uart *u)
{
	unsigned polls = patience(u);

	for (uint32_t before = u->ring_out; u->ring_out != u->ring_in; before = u->ring_out) {
		uart_push(u);
		polls = u->ring_out != before ? DRAIN_POLLS : polls - 1;
		if (!polls) {
			dropped[u - uarts] += u->ring_in - u->ring_out;
			u->ring_out = u->ring_in;
			u->stuck = true;
		}
	}
}

// As much of the text as there is room for; returns how much that was.
static size_t ring_put(struct uart *u, const char *text, size_t len)
{
	uint32_t in = u->ring_in, end = u->ring_out + RING_BYTES - 1; // CR and LF find room
	size_t n = 0;

	for (; n < len && (int32_t)(end - in) > 0; n++) {
		if (text[n] == '\n')
			u->ring[in++ % RING_BYTES] = '\r';
		u->ring[in++ % RING_BYTES] = text[n];
	}
	u->ring_in = in;
	return n;
}

void serial_write(enum serial_port port, const char *text, size_t len)
{
	struct uart *u = &uarts[port];
	unsigned polls = patience(u);

	if (!u->present) {
		dropped[port] += len;
		return;
	}
	while (len && polls) {
		bool on = irq_save();
		size_t n = ring_put(u, text, len);

		text += n;
		len -= n;
		if (polled || !u->interrupts || (len && !on))
			uart_drain(u);
		else
			uart_push(u);
		irq_restore(on); // where the ring drains meanwhile
		polls = n ? DRAIN_POLLS : polls - 1;
	}
	u->stuck |= len != 0;
	dropped[port] += len;
}

static void push_queued(struct wtd *work)
{
	struct uart *u = CONTAINER_OF(work, struct uart, push_work);
	bool on = irq_save();

	u->push_posted = false;
	uart_push(u);
	irq_restore(on);
}

bool serial_queue(enum serial_port port, const char *bytes, size_t len)
{
	struct uart *u = &uarts[port];
	bool on = irq_save(), post = false;
	size_t room = RING_BYTES - (u->ring_in - u->ring_out);
	size_t at = u->ring_in % RING_BYTES, first = MIN(len, RING_BYTES - at);

	if (!u->interrupts || len > room) {
		dropped[port] += len;
		irq_restore(on);
		return false;
	}
	memcpy(u->ring + at, bytes, first);
	if (UNLIKELY(first < len))
		memcpy(u->ring, bytes + first, len - first);
	u->ring_in += (uint32_t)len;
	if (!u->push_posted && !(u->ier & IER_THR_EMPTY))
		post = u->push_posted = true;
	irq_restore(on);
	if (post)
		wtd_post_fast(&u->push_work);
	return true;
}

void serial_flush(void)
{
	bool on = irq_save();

	for (unsigned port = 0; port < SERIAL_PORTS; port++) {
		struct uart *u = &uarts[port];

		if (!u->present)
			continue;
		uart_drain(u);
		for (unsigned polls = DRAIN_POLLS; polls; polls--)
			if (inb(u->base + REG_LSR) & LSR_ALL_EMPTY)
				break;
	}
	irq_restore(on);
}

void serial_set_polled(void)
{
	polled = true;
}

static void receive(struct uart *u)
{
	for (unsigned n = 0; n < RECEIVE_MAX && inb(u->base + REG_LSR) & LSR_DATA; n++) {
		uint8_t byte = inb(u->base + REG_DATA);

		if (u->receive)
			u->receive(u->receive_ctx, byte);
	}
}

// The line is edge-triggered and falls only when no cause is left: until then no other interrupt would come.
static bool uart_interrupt(void *arg)
{
	struct uart *u = arg;

	unsigned causes = 0;

	for (; causes < CAUSES_MAX && !(inb(u->base + REG_IIR) & IIR_NONE); causes++) {
		receive(u);
		uart_push(u);
	}
	return causes != 0;
}

void serial_set_receive(enum serial_port port, void (*fn)(void *ctx, uint8_t byte), void *ctx)
{
	struct uart *u = &uarts[port];
	bool on = irq_save();

	u->receive = fn;
	u->receive_ctx = ctx;
	if (u->interrupts)
		uart_set_ier(u, u->ier | IER_RECEIVED);
	irq_restore(on);
}

bool serial_present(enum serial_port port)
{
	return uarts[port].present;
}

static void uart_init(struct uart *u)
{
	outb(u->base + REG_SCRATCH, 0x5a);
	if (inb(u->base + REG_SCRATCH) != 0x5a)
		return;
	outb(u->base + REG_IER, 0);
	u->ier = 0;
	outb(u->base + REG_LCR, LCR_DLAB);
	outb(u->base + REG_DATA, 1); // 115200
	outb(u->base + REG_IER, 0);
	outb(u->base + REG_LCR, LCR_8N1);
	outb(u->base + REG_FCR, FCR_ENABLE_CLEAR_14);
	u->fifo =
	    (inb(u->base + REG_IIR) & IIR_FIFOS) == IIR_FIFOS ? FIFO_BYTES : 1; // a 16450 has none
	outb(u->base + REG_MCR, MCR_DTR_RTS_OUT2);
	u->present = true;
}

static void log_write(struct kprintf_sink *sink, const char *text, size_t len)
{
	serial_write(SERIAL_1, text, len);
}

void serial_init(void)
{
	static struct kprintf_sink sink = {.write = log_write};

	for (unsigned port = 0; port < SERIAL_PORTS; port++)
		uart_init(&uarts[port]);
	if (uarts[SERIAL_1].present)
		kprintf_add_sink(&sink);
}

void serial_start_interrupts(void)
{
	for (unsigned port = 0; port < SERIAL_PORTS; port++) {
		struct uart *u = &uarts[port];

		wtd_init(&u->push_work, push_queued, "serial port");
		if (u->present && irq_attach_line(u->line, false, false, uart_interrupt, u,
						  port ? "serial 2" : "serial 1") == 0)
			u->interrupts = true;
	}
}
