// SPDX-License-Identifier: BSD-2-Clause
// What the cards did: statistics, the lines in CONFIG, and the console's E1000 command, which
// prints the register table. The counters are plain variables of all cards together, counted in the
// hot files; the card's own read-to-clear counters are read here, on demand, and added up.
#include "drivers/e1000.h"
#include "kernel/console.h"
#include "kernel/kstat.h"

struct e1000_stats e1000_stats;

#define COUNTER(field, metric, label, text)                                                        \
	KSTAT_COUNTER_L(field, "pagewire_e1000_" metric, label, text, e1000_stats.field)
#define GAUGE(id, metric, field, text)                                                             \
	KSTAT_ROW(id, .name = "pagewire_e1000_" metric, .help = text, .type = KSTAT_GAUGE_T,       \
		  .value = &e1000_stats.field)

COUNTER(interrupts, "interrupts_total", NULL, "Interrupts that were the card's.");
COUNTER(looked, "looked_total", NULL,
	"Of these, frames that an idle processor found before the card interrupted.");
COUNTER(polls, "polls_total", NULL, "Runs of the polling work.");
COUNTER(rx_packets, "rx_packets_total", NULL, "Frames given to the stack.");
COUNTER(rx_bytes, "rx_bytes_total", NULL, "Bytes of frames given to the stack.");
COUNTER(rx_batches, "rx_batches_total", NULL, "Polls that found frames.");
COUNTER(tx_packets, "tx_packets_total", NULL, "Packets taken for sending.");
COUNTER(tx_bytes, "tx_bytes_total", NULL, "Bytes of packets taken for sending.");
COUNTER(tx_tso, "tx_segmented_total", NULL, "Packets that the card cuts into segments.");
COUNTER(tx_cut, "tx_cut_total", NULL, "Packets over IPv6 that the driver cuts into segments.");
COUNTER(tx_cut_frames, "tx_cut_frames_total", NULL, "The segments that these became.");
COUNTER(rx_doorbells, "doorbells_total", "ring=\"rx\"", "Writes of a ring's tail.");
COUNTER(tx_doorbells, "doorbells_total", "ring=\"tx\"", "Writes of a ring's tail.");
COUNTER(rx_error, "rx_dropped_total", "reason=\"error\"", "Frames dropped by the driver.");
COUNTER(rx_long, "rx_dropped_total", "reason=\"long\"", "Frames dropped by the driver.");
COUNTER(rx_short, "rx_dropped_total", "reason=\"short\"", "Frames dropped by the driver.");
COUNTER(rx_no_buffer, "rx_no_buffer_total", NULL, "Refills that the receive pool cut short.");
COUNTER(rx_ring_dry, "rx_ring_dry_total", NULL, "Refills that left the ring without a buffer.");
COUNTER(tx_ring_full, "tx_refused_total", "reason=\"ring_full\"", "Packets not taken.");
COUNTER(tx_link_down, "tx_refused_total", "reason=\"link_down\"", "Packets not taken.");
COUNTER(tx_invalid, "tx_refused_total", "reason=\"invalid\"", "Packets not taken.");
COUNTER(tx_discarded, "tx_discarded_total", NULL,
	"Times that packets not yet sent were released: link loss, reset, shutdown.");
COUNTER(context_written, "contexts_total", "use=\"written\"", "Checksum contexts needed.");
COUNTER(context_skipped, "contexts_total", "use=\"kept\"", "Checksum contexts needed.");
COUNTER(link_changes, "link_changes_total", NULL, "Link changes told to the stack.");
COUNTER(restarts, "restarts_total", NULL, "Resets of a card that did not finish its packets.");
GAUGE(rx_high, "rx_pass_high", rx_high, "Most frames taken in one polling pass.");
GAUGE(tx_high, "tx_ring_high", tx_high, "Most transmit descriptors in use at a doorbell.");

// Any context, a metrics request among them: the sums are atomic.
static uint64_t add_up(uint32_t reg, size_t field)
{
	uint64_t sum = 0;
	for (struct e1000 *nic = e1000_first(); nic; nic = nic->next_card) {
		uint64_t *total = (uint64_t *)((char *)nic + field);
		sum += __atomic_add_fetch(total, e1000_read(nic, reg), __ATOMIC_RELAXED);
	}
	return sum;
}

// Section 13.7: statistics registers are 32 bits wide, stick at all ones, and are cleared by
// reading.
static uint64_t read_missed(void)
{
	return add_up(E1000_MPC, offsetof(struct e1000, missed));
}
static uint64_t read_crc_errors(void)
{
	return add_up(E1000_CRCERRS, offsetof(struct e1000, crc_errors));
}
static uint64_t read_no_buffers(void)
{
	return add_up(E1000_RNBC, offsetof(struct e1000, no_buffers));
}
static uint64_t read_length_errors(void)
{
	return add_up(E1000_ROC, offsetof(struct e1000, length_errors));
}
#define CARD_COUNTER(id, label, function)                                                          \
	KSTAT_COUNTER_FN(id, "pagewire_e1000_card_total", label, "The card's own error counters.", \
			 function)
CARD_COUNTER(card_missed, "counter=\"mpc\"", read_missed);
CARD_COUNTER(card_crc, "counter=\"crcerrs\"", read_crc_errors);
CARD_COUNTER(card_rnbc, "counter=\"rnbc\"", read_no_buffers);
CARD_COUNTER(card_roc, "counter=\"roc\"", read_length_errors);

static uint64_t tx_outstanding(void)
{
	uint64_t used = 0;
	for (struct e1000 *nic = e1000_first(); nic; nic = nic->next_card)
		used += nic->tx.next - nic->tx.clean;
	return used;
}
KSTAT_GAUGE_FN(tx_outstanding, "pagewire_e1000_tx_outstanding", NULL,
	       "Transmit descriptors that the card has not finished.", tx_outstanding);

static uint64_t rx_ring_filled(void)
{
	uint64_t filled = 0;
	for (struct e1000 *nic = e1000_first(); nic; nic = nic->next_card)
		filled += nic->rx.fill - nic->rx.clean;
	return filled;
}
KSTAT_GAUGE_FN(rx_ring_filled, "pagewire_e1000_rx_ring_filled", NULL,
	       "Receive descriptors that hold a buffer now.", rx_ring_filled);

static void print_config(void)
{
	static const char *const speeds[] = {"10", "100", "1000", "1000"};
	for (struct e1000 *nic = e1000_first(); nic; nic = nic->next_card) {
		uint32_t status = e1000_read(nic, E1000_STATUS);
		const uint8_t *mac = nic->dev.mac;
		console_printf("%s: Intel %s, %02x:%02x:%02x:%02x:%02x:%02x, ", nic->name,
			       nic->dev.model, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
		if (nic->dev.link_up)
			console_printf("%s Mb/s %s duplex",
				       speeds[status >> STATUS_SPEED_SHIFT & STATUS_SPEED_MASK],
				       status & STATUS_FD ? "full" : "half");
		else
			console_printf("no link");
		console_printf(", PCI %02x:%02x.%x, rings %u/%u%s\n", nic->pci->bus, nic->pci->slot,
			       nic->pci->function, E1000_RX_RING, E1000_TX_RING,
			       nic->late ? ", nic=late" : "");
	}
}
CONSOLE_SECTION(e1000, "CONFIG", 40, print_config);

enum access { RW, RO, WO, RC };
static const struct {
	const char *name, *text;
	uint32_t offset;
	enum access access;
} registers[] = {
#define E1000_ROW(name, offset, access, text) {#name, text, offset, access},
    E1000_REGISTERS(E1000_ROW)
#undef E1000_ROW
};

static void print_registers(int argc, char **argv)
{
	for (struct e1000 *nic = e1000_first(); nic; nic = nic->next_card) {
		console_printf("%s: clean %u fill %u; clean %u rung %u next %u\n", nic->name,
			       nic->rx.clean, nic->rx.fill, nic->tx.clean, nic->tx.rung,
			       nic->tx.next);
		for (size_t n = 0; n < ARRAY_SIZE(registers); n++) {
			if (registers[n].access == WO || registers[n].access == RC)
				continue;
			console_printf("  %04x %-7s %08x  %s\n", registers[n].offset,
				       registers[n].name, e1000_read(nic, registers[n].offset),
				       registers[n].text);
		}
	}
}
CONSOLE_COMMAND(e1000, "E1000", "E1000", "Prints the registers of each Intel network card.",
		print_registers);
