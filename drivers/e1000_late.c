// SPDX-License-Identifier: BSD-2-Clause
// `nic=late`: makes QEMU's card as late as a real one, and later. QEMU sends everything inside the
// TDT write, so a page or a header that is freed too early goes out intact there and torn on a real
// card. In this mode
//
//   - a doorbell is held back for 50 to 500 us (what was freed meanwhile goes out as junk),
//   - a done packet is reported 1 to 20 ms after it was queued, out of phase with its ACK,
//   - received frames wait, in small batches, for up to 1 ms, every other time,
//   - a packet's header is summed when it is queued and when it is given back: one that changed
//     in between was freed or rewritten while the card still had it, which is a panic,
//   - the page allocator junk-fills freed frames (pools always do).
//
// All of it comes from one seed, printed at boot; `nic=late:SEED` repeats it. Driver side of stages
// 3, 9 and 10 of the read path. Costs the normal mode one predictable branch on nic->late at each
// stage.
#include "drivers/e1000.h"
#include "kernel/cmdline.h"
#include "kernel/cpu.h"
#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/timer.h"
#include "kernel/vmm.h"

#define DOORBELL_MIN_NS (50 * NS_PER_US)
#define DOORBELL_MAX_NS (500 * NS_PER_US)
#define DONE_MIN_NS	(1 * NS_PER_MS)
#define DONE_MAX_NS	(20 * NS_PER_MS)
#define HOLD_MAX_NS	(1 * NS_PER_MS)
#define HEAD_BYTES	128 // of the header that are watched

struct late_packet {
	uint64_t due; // clock_ns from which the packet may be reported done
	const uint8_t *head;
	uint32_t head_bytes;
	uint32_t head_sum;
};

struct e1000_late {
	struct e1000 *nic;
	struct wtd doorbell;
	bool ringing;				   // doorbell is armed
	bool holding;				   // poll is armed: received frames wait
	struct late_packet packets[E1000_TX_RING]; // by first slot
};

static bool wanted;
static uint64_t random_state; // (fast WTD context)

static uint64_t doorbells_delayed, completions_delayed, receives_delayed;
KSTAT_COUNTER(doorbells_delayed, "pagewire_e1000_late_doorbells_total",
	      "Doorbells held back by nic=late.");
KSTAT_COUNTER(completions_delayed, "pagewire_e1000_late_completions_total",
	      "Packets that were done but not yet reported when looked at under nic=late.");
KSTAT_COUNTER(receives_delayed, "pagewire_e1000_late_receives_total",
	      "Receive passes put off by nic=late.");

static bool parse_nic(const char *value)
{
	if (!value || strncmp(value, "late", 4))
		return false;
	if (value[4] == ':') {
		if (!kparse_u64(value + 5, strlen(value + 5), &random_state))
			return false;
	} else if (value[4]) {
		return false;
	}
	wanted = true;
	pmm_set_junk(true);
	pool_set_junk(true);
	return true;
}
CMDLINE_OPTION(nic, "nic",
	       "nic=late[:SEED]  delay doorbells and completions and check headers (debug)",
	       parse_nic);

bool e1000_late_wanted(void)
{
	return wanted;
}

size_t e1000_late_bytes(void)
{
	return sizeof(struct e1000_late);
}

// splitmix64
static uint64_t late_random(uint64_t from, uint64_t to)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return from + (z ^ z >> 31) % (to - from);
}

static void late_doorbell(struct wtd *work)
{
	struct e1000_late *late = CONTAINER_OF(work, struct e1000_late, doorbell);
	late->ringing = false;
	if (late->nic->state == E1000_RUNNING && late->nic->tx.next != late->nic->tx.rung)
		e1000_tx_doorbell(late->nic);
}

bool e1000_late_setup(struct e1000 *nic)
{
	nic->late = kpages_alloc(sizeof(struct e1000_late));
	if (!nic->late)
		return false;
	nic->late->nic = nic;
	wtd_init(&nic->late->doorbell, late_doorbell, "e1000 late doorbell");
	if (!random_state)
		random_state = cpu_random();
	kprintf("%s: nic=late:%lu delays doorbells and completions\n", nic->name,
		(unsigned long)random_state);
	return true;
}

void e1000_late_reset(struct e1000 *nic)
{
	wtd_cancel(&nic->late->doorbell);
	nic->late->ringing = false;
	nic->late->holding = false;
}

// FNV-1a: any change of the header changes it with near certainty.
static uint32_t head_sum(const uint8_t *head, uint32_t bytes)
{
	uint32_t sum = 2166136261;
	for (uint32_t n = 0; n < bytes; n++)
		sum = (sum ^ head[n]) * 16777619;
	return sum;
}

void e1000_late_packet(struct e1000 *nic, uint32_t first_slot, const struct netfrag *head)
{
	struct late_packet *packet = &nic->late->packets[first_slot];
	packet->due = clock_ns() + late_random(DONE_MIN_NS, DONE_MAX_NS);
	packet->head = phys_to_virt(head->addr);
	packet->head_bytes = MIN(head->bytes, HEAD_BYTES);
	packet->head_sum = head_sum(packet->head, packet->head_bytes);
}

// DD is set: may the packet be reported? Asked again by the transmit timer while the answer is no.
bool e1000_late_done(struct e1000 *nic, uint32_t first_slot)
{
	struct late_packet *packet = &nic->late->packets[first_slot];
	if (clock_ns() < packet->due) {
		completions_delayed++;
		return false;
	}
	if (head_sum(packet->head, packet->head_bytes) != packet->head_sum)
		PANIC("%s: the header at %p changed while the card had it", nic->name,
		      (const void *)packet->head);
	return true;
}

void e1000_late_kick(struct e1000 *nic)
{
	if (nic->late->ringing)
		return;
	nic->late->ringing = true;
	doorbells_delayed++;
	wtd_post_after(&nic->late->doorbell, WTD_FAST,
		       late_random(DOORBELL_MIN_NS, DOORBELL_MAX_NS));
}

// True: this pass is put off, poll comes again by itself. Never twice in a row.
bool e1000_late_hold_rx(struct e1000 *nic)
{
	nic->late->holding = !nic->late->holding && late_random(0, 2);
	if (!nic->late->holding)
		return false;
	receives_delayed++;
	wtd_post_after(&nic->rx.poll, WTD_FAST, late_random(1, HOLD_MAX_NS));
	return true;
}
