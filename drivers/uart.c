// SPDX-License-Identifier: BSD-2-Clause
// 16550 serial ports. Contract in include/kernel/serial.h. Registers: NS16550AF data sheet, table II.
//
// Two ways out. serial_write polls: it waits for the transmitter's FIFO to be empty and gives it
// sixteen characters. serial_queue leaves text in a ring which the transmitter-empty interrupt drains,
// sixteen at a time. serial_write on a port with a ring drains the ring first, so that order is kept.
#include "kernel/cpu.h"
#include "kernel/io.h"
#include "kernel/irq.h"
#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/serial.h"

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
	FCR_ENABLE_CLEAR_14 = 0xc7, // FIFOs on and empty, receive trigger at 14
	LCR_8N1 = 0x03,
	LCR_DLAB = 0x80,
	MCR_DTR_RTS_OUT2 = 0x0b, // OUT2 gates the interrupt line
	LSR_DATA = 0x01,
	LSR_THR_EMPTY = 0x20,
};
#define FIFO_BYTES 16
// A full FIFO drains in 1.4 ms. One read of a port takes about a microsecond on an ISA bus.
#define DRAIN_POLLS 100000
#define RING_BYTES  32768 // power of two: about 300 lines of an access log

struct uart {
	uint16_t base;
	uint8_t line;
	bool present;
	bool interrupts;
	// Everything below: interrupts off.
	uint8_t ier;
	char *ring;
	uint32_t ring_in, ring_out; // free-running
	void (*receive)(void *ctx, uint8_t byte);
	void *receive_ctx;
};

static char ring_of_port_1[RING_BYTES], ring_of_port_2[RING_BYTES];
static struct uart uarts[SERIAL_PORTS] = {
    {.base = 0x3f8, .line = 4, .ring = ring_of_port_1},
    {.base = 0x2f8, .line = 3, .ring = ring_of_port_2},
};

static uint64_t dropped[SERIAL_PORTS];
KSTAT_COUNTER_L(serial_dropped_1, "pagewire_serial_dropped_bytes_total", "port=\"1\"",
		"Characters not sent: port absent, stuck, or its ring full", dropped[0]);
KSTAT_COUNTER_L(serial_dropped_2, "pagewire_serial_dropped_bytes_total", "port=\"2\"",
		"Characters not sent: port absent, stuck, or its ring full", dropped[1]);

static bool uart_wait_empty(const struct uart *u)
{
	for (unsigned polls = DRAIN_POLLS; polls; polls--)
		if (inb(u->base + REG_LSR) & LSR_THR_EMPTY)
			return true;
	return false;
}

// Up to sixteen characters of the ring into the empty FIFO.
static void uart_feed(struct uart *u)
{
	for (unsigned n = 0; n < FIFO_BYTES && u->ring_out != u->ring_in; n++)
		outb(u->base + REG_DATA, (uint8_t)u->ring[u->ring_out++ % RING_BYTES]);
}

static void uart_set_ier(struct uart *u, uint8_t ier)
{
	if (ier != u->ier) {
		u->ier = ier;
		outb(u->base + REG_IER, ier);
	}
}

void serial_write(enum serial_port port, const char *text, size_t len)
{
	struct uart *u = &uarts[port];
	bool on = irq_save();
	unsigned room = 0;

	if (!u->present) {
		dropped[port] += len;
		goto out;
	}
	while (u->ring_out != u->ring_in && uart_wait_empty(u))
		uart_feed(u);
	for (size_t i = 0; i < len; i++) {
		if (room < 2) {
			if (!uart_wait_empty(u)) {
				dropped[port] += len - i;
				break;
			}
			room = FIFO_BYTES;
		}
		if (text[i] == '\n') {
			outb(u->base + REG_DATA, '\r');
			room--;
		}
		outb(u->base + REG_DATA, (uint8_t)text[i]);
		room--;
	}
out:
	irq_restore(on);
}

bool serial_queue(enum serial_port port, const char *text, size_t len)
{
	struct uart *u = &uarts[port];
	bool on = irq_save(), ok = false;
	size_t needed = len;

	for (size_t i = 0; i < len; i++)
		needed += text[i] == '\n';
	if (u->interrupts && needed <= RING_BYTES - (u->ring_in - u->ring_out)) {
		for (size_t i = 0; i < len; i++) {
			if (text[i] == '\n')
				u->ring[u->ring_in++ % RING_BYTES] = '\r';
			u->ring[u->ring_in++ % RING_BYTES] = text[i];
		}
		// Enabling the interrupt with the transmitter empty raises it at once.
		uart_set_ier(u, u->ier | IER_THR_EMPTY);
		ok = true;
	} else {
		dropped[port] += needed;
	}
	irq_restore(on);
	return ok;
}

static bool uart_interrupt(void *arg)
{
	struct uart *u = arg;

	if (inb(u->base + REG_IIR) & IIR_NONE)
		return false;
	while (inb(u->base + REG_LSR) & LSR_DATA) {
		uint8_t byte = inb(u->base + REG_DATA);

		if (u->receive)
			u->receive(u->receive_ctx, byte);
	}
	if (inb(u->base + REG_LSR) & LSR_THR_EMPTY)
		uart_feed(u);
	if (u->ring_out == u->ring_in)
		uart_set_ier(u, u->ier & (uint8_t)~IER_THR_EMPTY);
	return true;
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
	outb(u->base + REG_LCR, LCR_DLAB);
	outb(u->base + REG_DATA, 1); // 115200
	outb(u->base + REG_IER, 0);
	outb(u->base + REG_LCR, LCR_8N1);
	outb(u->base + REG_FCR, FCR_ENABLE_CLEAR_14);
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

		if (u->present && irq_attach_line(u->line, false, false, uart_interrupt, u,
						  port ? "serial 2" : "serial 1") == 0)
			u->interrupts = true;
	}
}
