// SPDX-License-Identifier: BSD-2-Clause
// Interrupts; contract in include/kernel/irq.h and lapic.h. The read path's stage 1 goes through
// irq_dispatch.
//
//   vectors 0x20-0x2f  the masked 8259s, should one of them speak all the same
//           0x30-0xdf  lines, MSIs and tests, given out upwards
//           0xe0       local APIC timer, 0xfe its errors, 0xff spurious
//
// Registers: Intel SDM volume 3A chapter 11 (local APIC), 82093AA data sheet (I/O APIC).
#include "kernel/irq.h"
#include "kernel/cpu.h"
#include "kernel/cpu_private.h"
#include "kernel/io.h"
#include "kernel/irq_private.h"
#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/lapic.h"
#include "kernel/panic.h"
#include "kernel/thread.h"
#include "kernel/wtd.h"

enum { VECTOR_FIRST = 0x30, VECTOR_LAST = 0xdf, VECTOR_TIMER = 0xe0 };
enum { VECTOR_ERROR = 0xfe, VECTOR_SPURIOUS = 0xff };
#define ACTIONS_MAX 128	  // handlers of the whole machine: a PC has some 20 devices that interrupt
#define STORM_LIMIT 10000 // interrupts in a row that nobody claims

struct action {
	irq_handler handler;
	void *arg;
	const char *name;
	struct action *next;
	uint64_t claimed; // own processor, interrupts off; of a shared line
};
// What a vector's stub (trap.asm) hands to irq_dispatch. A vector that nobody attached to has a handler
// that counts, so that the way of an interrupt has no question to ask.
struct vector {
	irq_handler handler; // the only one's, or share_out
	void *arg;
	uint64_t claimed;   // own processor, interrupts off; this one and the next
	uint32_t unclaimed; // in a row
	int gsi;	    // -1: not an I/O APIC line
	struct action *first;
	uint64_t unused[3];
};
_Static_assert(sizeof(struct vector) == 64, "trap.asm counts on it");
struct vector irq_vectors[256];
static struct action actions[ACTIONS_MAX];
static unsigned actions_used, next_vector = VECTOR_FIRST;
static void (*timer_handler)(void);

uint64_t irq_spurious; // trap.asm counts them
static uint64_t unexpected, storms, apic_errors;
KSTAT_COUNTER(irq_spurious, "pagewire_irq_spurious_total", "Spurious interrupts of the local APIC");
KSTAT_COUNTER(unexpected, "pagewire_irq_unexpected_total",
	      "Interrupts of a vector without a handler");
KSTAT_COUNTER(storms, "pagewire_irq_storms_total",
	      "Lines masked because nobody claimed their interrupts");
KSTAT_COUNTER(apic_errors, "pagewire_irq_apic_errors_total", "Errors the local APIC reported");

static bool unexpected_interrupt(void *arg)
{
	unexpected++;
	return true;
}

static bool timer_interrupt(void *arg)
{
	timer_handler();
	return true;
}

static bool error_interrupt(void *arg)
{
	apic_errors++;
	lapic_clear_error();
	return true;
}

// The handler of a line with more than one device: each is asked.
static bool share_out(void *arg)
{
	bool claimed = false;

	for (struct action *a = ((struct vector *)arg)->first; a; a = a->next)
		if (a->handler(a->arg)) {
			claimed = true;
			a->claimed++;
		}
	return claimed;
}

static void unclaimed(struct vector *v)
{
	if (++v->unclaimed < STORM_LIMIT || v->gsi < 0)
		return;
	storms++;
	v->unclaimed = 0;
	ioapic_mask((unsigned)v->gsi);
	kprintf("irq: line %d (%s) is masked: %u interrupts in a row that nobody claimed\n", v->gsi,
		v->first->name, STORM_LIMIT);
}

// Interrupts off, on whatever stack was interrupted.
void irq_dispatch(struct vector *v)
{
	struct cpu *cpu = this_cpu();

	cpu->irq_depth++;
	if (LIKELY(v->handler(v->arg))) {
		v->claimed++;
		v->unclaimed = 0;
	} else {
		unclaimed(v);
	}
	lapic_eoi();
	cpu->irq_depth--;
	if (cpu->busy)
		return;
	if (cpu->fast_pending)
		wtd_run_fast();
	if (cpu->need_switch)
		thread_reschedule_at_irq_exit();
}

static struct action *new_action(irq_handler handler, void *arg, const char *name)
{
	struct action *a;

	if (actions_used == ACTIONS_MAX) {
		kprintf("irq: more than %u handlers, %s gets none\n", ACTIONS_MAX, name);
		return NULL;
	}
	a = &actions[actions_used++];
	*a = (struct action){.handler = handler, .arg = arg, .name = name};
	return a;
}

static void chain(struct vector *v, struct action *a)
{
	bool on = irq_save();

	a->next = v->first;
	if (!a->next) {
		v->handler = a->handler;
		v->arg = a->arg;
	} else if (v->handler != share_out) {
		a->next->claimed = v->claimed;
		v->handler = share_out;
		v->arg = v;
	}
	v->first = a;
	irq_restore(on);
}

static struct vector *vector_of_gsi(unsigned gsi)
{
	for (unsigned n = VECTOR_FIRST; n < next_vector; n++)
		if (irq_vectors[n].gsi == (int)gsi)
			return &irq_vectors[n];
	return NULL;
}

// A vector for one handler, or null.
static struct vector *new_vector(int gsi)
{
	if (next_vector > VECTOR_LAST)
		return NULL;
	irq_vectors[next_vector].gsi = gsi;
	return &irq_vectors[next_vector++];
}

static unsigned vector_number(const struct vector *v)
{
	return (unsigned)(v - irq_vectors);
}

int irq_attach_line(unsigned line, bool level, bool active_low, irq_handler handler, void *arg,
		    const char *name)
{
	unsigned gsi = ioapic_gsi_of_line(line, &level, &active_low);
	struct vector *v = vector_of_gsi(gsi);
	struct action *a;
	bool shared = v != NULL;

	if (!ioapic_has(gsi))
		return -ENODEV;
	if (!v && !(v = new_vector((int)gsi)))
		return -ENOMEM;
	if (!(a = new_action(handler, arg, name)))
		return -ENOMEM;
	chain(v, a);
	if (!shared)
		ioapic_route(gsi, vector_number(v), level, active_low);
	return 0;
}

static int attach_vector(irq_handler handler, void *arg, const char *name, unsigned *number)
{
	struct vector *v = new_vector(-1);
	struct action *a = v ? new_action(handler, arg, name) : NULL;

	if (!a)
		return -ENOMEM;
	chain(v, a);
	*number = vector_number(v);
	return 0;
}

int irq_attach_msi(irq_handler handler, void *arg, const char *name, uint64_t *address,
		   uint32_t *data)
{
	unsigned number;
	int error = attach_vector(handler, arg, name, &number);

	if (error)
		return error;
	*address = 0xfee00000UL | (uint64_t)lapic_id()
				      << 12; // SDM 11.11.1: physical, this processor
	*data = number;			     // SDM 11.11.2: fixed, edge
	return 0;
}

int irq_attach_self(irq_handler handler, void *arg, const char *name, unsigned *vector)
{
	return attach_vector(handler, arg, name, vector);
}

void irq_raise_self(unsigned vector)
{
	lapic_self_ipi(vector);
}

void lapic_timer_set_handler(void (*fn)(void))
{
	timer_handler = fn;
}

void irq_each(void (*visit)(void *ctx, const char *name, int line, uint64_t count), void *ctx)
{
	for (unsigned n = VECTOR_FIRST; n < next_vector; n++) {
		const struct vector *v = &irq_vectors[n];

		for (const struct action *a = v->first; a; a = a->next)
			visit(ctx, a->name, v->gsi,
			      v->handler == share_out ? a->claimed : v->claimed);
	}
}

void irq_init(void)
{
	for (unsigned n = 0; n < ARRAY_SIZE(irq_vectors); n++) {
		irq_vectors[n].handler = unexpected_interrupt;
		irq_vectors[n].gsi = -1;
	}
	irq_vectors[VECTOR_TIMER].handler = timer_interrupt;
	irq_vectors[VECTOR_ERROR].handler = error_interrupt;
	apic_init(VECTOR_TIMER, VECTOR_ERROR, VECTOR_SPURIOUS);
	__asm__ volatile("sti");
}
