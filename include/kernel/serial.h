// SPDX-License-Identifier: BSD-2-Clause
// The first two serial ports (16550, 115200 8N1). The first carries the kernel log and the console,
// the second the access log.
#pragma once

#include "kernel/base.h"

enum serial_port { SERIAL_1, SERIAL_2, SERIAL_PORTS };

// True if the machine has the port. Any context, after serial_init.
bool serial_present(enum serial_port port);
// Takes all of the text ('\n' goes out as CR LF) into the port's ring of 32 KB, which an interrupt
// drains; waits, or polls where interrupts are off, only while the ring is full. Nothing is lost but
// what a port that is absent, or does not drain for 100 ms, cannot take: that is counted. Any context.
void serial_write(enum serial_port port, const char *text, size_t len);
// Never waits. All or nothing, as it is (the caller ends lines with CR LF): false (and counted) when the
// ring lacks room or the port is absent. Any context, after serial_start_interrupts. For logs that must
// not hold up the work they report: the port is given the bytes by a fast WTD that runs later.
bool serial_queue(enum serial_port port, const char *bytes, size_t len);
// Returns when everything written is on the line. Any context; before the machine is left.
void serial_flush(void);
// From now on serial_write returns only when its text is out: for a panic. Any context.
void serial_set_polled(void);
// Characters received go to fn, one call each, in interrupt context. Replaces the one before; null:
// thrown away. Thread context, after serial_start_interrupts.
void serial_set_receive(enum serial_port port, void (*fn)(void *ctx, uint8_t byte), void *ctx);

void serial_init(void);		    // boot, first: polled output, the kernel log's first sink
void serial_start_interrupts(void); // boot, after irq_init
