// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: drivers/e1000_init.c drivers/e1000_link.c drivers/e1000_rx.c drivers/e1000_tx.c drivers/e1000_straight.c
// SOURCES: drivers/e1000_done.c drivers/e1000_cut.c drivers/e1000_late.c drivers/e1000_stats.c kernel/netdev_list.c
// SOURCES: kernel/string.c
// SOURCES: tests/host/fake_e1000.c tests/host/fake_e1000_client.c
// The e1000 driver receiving: the interrupt, polling, refilling, bad frames, an empty pool.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "drivers/e1000.h"
#include "fake_e1000.h"
#include "kernel/kstat.h"
#include "kernel/pmm.h"
#include "kernel/vmm.h"
#include "shim.h"

#define MS   NS_PER_MS
#define RING ((int)E1000_RX_RING)
#define WELL (RING - 1 - (int)E1000_RX_REFILL) // what the card has at the least

static struct netdev *dev;

static int setup_group(void **state)
{
	dev = client_plug(0x100f);
	return 0;
}

// Frame number n: its length and bytes follow from n.
static uint32_t frame(uint8_t *data, unsigned n)
{
	uint32_t bytes = 60 + n * 37 % 1455;
	for (uint32_t at = 0; at < bytes; at++)
		data[at] = (uint8_t)(n + at * 7);
	data[0] = (uint8_t)(n >> 8);
	data[1] = (uint8_t)n;
	return bytes;
}

static void receive(unsigned n)
{
	uint8_t data[2048];
	uint32_t bytes = frame(data, n);
	fake_receive(data, bytes);
}

static void assert_received(unsigned from, unsigned count)
{
	uint8_t data[2048];
	for (unsigned n = from; n < from + count; n++) {
		assert_int_equal(client_frame(n)->bytes, frame(data, n));
		assert_memory_equal(client_frame(n)->data, data, client_frame(n)->bytes);
	}
}

static void the_card_is_set_up_as_the_manual_says(void **state)
{
	static const uint8_t mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
	assert_memory_equal(dev->mac, mac, 6);
	assert_string_equal(dev->model, "82545EM");
	assert_true(dev->link_up);
	assert_int_equal(client.link_calls, 1);
	// EN, MPE, LPE, BAM, SECRC; 2048-byte buffers
	assert_int_equal(fake_register(0x100), 0x04008032);
	assert_int_equal(fake_register(0x400), 0x400fa); // EN, PSP, CT 15, COLD 64
	assert_int_equal(fake_register(0x410), 0x60200a);
	assert_int_equal(fake_register(0xd0), 0x84); // RXT0, LSC
	assert_int_equal(fake_register(0x5404) >> 31, 1);
	assert_int_equal(fake_register(0x2808), RING * 16);
	assert_int_equal(fake_register(0x3808), 1024 * 16);
	assert_int_equal(fake_register(0x2818), RING - 1);
	assert_int_equal(client.out, RING - 1);
}

static void a_frame_goes_up_after_one_interrupt_and_four_accesses(void **state)
{
	uint64_t interrupts = e1000_stats.interrupts;
	receive(0);
	assert_int_equal(client.inputs, 0); // the interrupt only takes a note
	assert_int_equal(fake_register(0xd0), 0);
	shim_run();
	assert_int_equal(client.inputs, 1);
	assert_int_equal(client.batches, 1);
	assert_received(0, 1);
	assert_int_equal(e1000_stats.interrupts, interrupts + 1);
	assert_int_equal(fake_reads(), 2); // ICR twice
	assert_int_equal(fake_writes(E1000_IMC) + fake_writes(E1000_IMS), 2);
	assert_int_equal(fake_writes(E1000_RDT), 0);
	assert_int_equal(fake_register(0xd0), 0x84);
}

static void frames_of_a_batch_go_up_in_order_with_one_interrupt(void **state)
{
	uint64_t interrupts = e1000_stats.interrupts;
	for (unsigned n = 0; n < 400; n++)
		receive(n);
	shim_run();
	assert_int_equal(client.inputs, 400);
	assert_received(0, 400);
	assert_int_equal(client.batches, 4); // 128 a pass
	assert_int_equal(e1000_stats.interrupts, interrupts + 1);
	assert_in_range(fake_writes(E1000_RDT), 1, 400 / 128);
}

static void ten_thousand_frames_wrap_the_ring_in_order(void **state)
{
	unsigned sent = 0;
	while (sent < 10000) {
		for (unsigned burst = (unsigned)shim_random_below(700); burst; burst--)
			receive(sent++);
		shim_run();
		assert_int_equal(client.inputs, sent);
		assert_received(sent - MIN(sent, 700U), MIN(sent, 700U));
	}
	assert_true(client.out > WELL);
}

static unsigned more;
static void receive_during_poll(const uint8_t *data, uint32_t bytes)
{
	if (more && --more)
		receive(client.inputs);
}

static void frames_that_arrive_during_polling_do_not_interrupt(void **state)
{
	uint64_t interrupts = e1000_stats.interrupts;
	more = 300;
	client.on_input = receive_during_poll;
	receive(0);
	shim_run();
	assert_int_equal(client.inputs, 300);
	assert_int_equal(client.batches, 3); // 128 a pass
	assert_received(0, 300);
	assert_int_equal(e1000_stats.interrupts, interrupts + 1);
}

static unsigned next_frame;
static void slip_in(void)
{
	if (more) {
		more--;
		receive(next_frame++);
	}
}
static void slip_in_before_icr(bool was_read)
{
	if (!was_read)
		slip_in();
}
static void slip_in_after_icr(bool was_read)
{
	if (was_read)
		slip_in();
}
static void slip_in_at_unmask(uint32_t reg, uint32_t value)
{
	if (reg == E1000_IMS)
		slip_in();
}

static void a_frame_that_slips_in_while_polling_ends_is_not_lost(void **state)
{
	next_frame = 0;
	for (unsigned before = 0; before < 2; before++) {
		more = 3;
		fake_on_icr(before ? slip_in_before_icr : slip_in_after_icr);
		receive(next_frame++);
		shim_run();
		assert_int_equal(client.inputs, next_frame);
	}
	fake_on_icr(NULL);
	more = 3;
	fake_on_write(slip_in_at_unmask);
	receive(next_frame++);
	shim_run();
	assert_int_equal(client.inputs, next_frame);
	assert_int_equal(next_frame, 11);
	assert_received(0, next_frame);
	assert_int_equal(fake_register(0xd0), 0x84);
}

static void answer(const struct fake_frame *frame)
{
	if (frame->data[0] == 0x77)
		receive(client.inputs);
}

static void send_on_input(const uint8_t *data, uint32_t bytes)
{
	static struct page *page;
	if (client.inputs >= 100)
		return;
	page = pmm_alloc(0);
	memset(page_virt(page), 0x77, 60);
	struct netfrag frag = {page_phys(page), 60, client_cookie()};
	assert_int_equal(dev->transmit(dev, &frag, 1, NULL), 0);
	dev->kick(dev); // QEMU's user network answers in here
	pmm_free(page, 0);
}

static void an_answer_within_the_doorbell_is_taken_in_the_same_poll(void **state)
{
	uint64_t interrupts = e1000_stats.interrupts;
	fake_on_sent(answer);
	client.on_input = send_on_input;
	receive(0);
	shim_run();
	assert_int_equal(client.inputs, 100);
	assert_received(0, 100);
	assert_int_equal(e1000_stats.interrupts, interrupts + 1);
	assert_int_equal(client_cookies_out(), 0);
}

static void an_empty_pool_lets_the_ring_run_dry_and_loses_nothing(void **state)
{
	uint64_t dry = e1000_stats.rx_ring_dry, none = e1000_stats.rx_no_buffer;
	client.limit = 0;
	for (unsigned n = 0; n < 700; n++)
		receive(n);
	shim_run();
	assert_int_equal(client.inputs, RING - 1);
	assert_int_equal(client.out, 0);
	assert_int_equal(fake_waiting(), 700 - (RING - 1));
	assert_int_equal(fake_register(0x2810), fake_register(0x2818)); // RDH == RDT
	assert_int_equal(e1000_stats.rx_ring_dry, dry + 1);
	assert_true(e1000_stats.rx_no_buffer > none);
	client.limit = CLIENT_BUFFERS;
	dev->rx_refill(dev);
	shim_run();
	assert_int_equal(client.inputs, 700);
	assert_received(0, 700);
}

static void a_dry_ring_recovers_by_itself_when_the_pool_does(void **state)
{
	client.limit = 0;
	for (unsigned n = 0; n < 600; n++)
		receive(n);
	shim_run();
	shim_advance(50 * MS);
	assert_int_equal(client.inputs, RING - 1);
	client.limit = 20;
	shim_advance(60 * MS);
	assert_int_equal(client.inputs, 600);
	client.limit = CLIENT_BUFFERS;
	shim_advance(20 * MS);
	assert_true(client.out > WELL);
	assert_received(0, 600);
}

static void refill_asks_for_nothing_while_the_ring_is_well_filled(void **state)
{
	for (unsigned n = 0; n < 10; n++)
		dev->rx_refill(dev);
	assert_int_equal(fake_writes(E1000_RDT), 0);
	assert_int_equal(client.out, RING - 1);
}

static void bad_frames_are_dropped_and_counted_and_the_card_has_their_buffers_again(void **state)
{
	uint8_t data[2048];
	uint64_t errors = e1000_stats.rx_error, toolong = e1000_stats.rx_long,
		 tooshort = e1000_stats.rx_short;
	uint32_t bytes = frame(data, 0);
	fake_receive_odd(data, bytes, 0x01, 1); // CRC
	fake_receive_odd(data, bytes, 0x80, 1); // data
	fake_receive_odd(data, 2000, 0, 2);	// two buffers
	fake_receive_odd(data, 1519, 0, 1);
	fake_receive_odd(data, 13, 0, 1);
	receive(0);
	fake_receive_odd(data, bytes, 0x60, 1); // IPE, TCPE: the stack's business
	shim_run();
	assert_int_equal(client.inputs, 2);
	assert_int_equal(e1000_stats.rx_error, errors + 2);
	assert_int_equal(e1000_stats.rx_long, toolong + 2);
	assert_int_equal(e1000_stats.rx_short, tooshort + 1);
	assert_received(0, 1);
	assert_int_equal(client.out, RING - 1 - 2);
}

static void buffers_that_are_not_kept_go_round_without_the_pool(void **state)
{
	unsigned asked = client.asked;
	client.leaves = true;
	for (unsigned n = 0; n < 1000; n++) {
		receive(n);
		if (n % 7 == 0)
			shim_run();
	}
	shim_run();
	assert_int_equal(client.inputs, 1000);
	assert_received(0, 1000);
	assert_int_equal(client.asked, asked + 1); // for the slot that was left empty at first
	assert_int_equal(client.out, RING);
	client.leaves = false;
	for (unsigned n = 1000; n < 1300; n++) {
		receive(n);
		client.leaves = n % 3 == 0;
	}
	shim_run();
	assert_received(0, 1300);
	assert_true(client.out > WELL);
}

// Of some buffers the stack keeps one or none, of others all, and the pool is empty now and then: nothing is lost, and
// nothing comes twice.
static void kept_and_returned_buffers_come_to_the_card_as_they_should(void **state)
{
	unsigned sent = 0;
	while (sent < 20000) {
		client.leaves = shim_random_below(3) > 0;
		client.limit = shim_random_below(4) ? CLIENT_BUFFERS
						    : (unsigned)shim_random_below(CLIENT_BUFFERS);
		for (unsigned burst = (unsigned)shim_random_below(300); burst; burst--)
			receive(sent++);
		shim_run();
		client.limit = CLIENT_BUFFERS;
		dev->rx_refill(dev);
		shim_run();
		assert_int_equal(client.inputs, sent);
		assert_received(sent - MIN(sent, 300U), MIN(sent, 300U));
	}
	assert_true(client.out > WELL);
	client.leaves = false;
}

// As they lie in the ring: in two where its end is among them, and those that nobody wants are among the others.
static void a_batch_is_shown_in_one_piece(void **state)
{
	uint8_t frame[70] = {0};
	uint64_t frames = e1000_stats.rx_packets, bytes = e1000_stats.rx_bytes;
	uint64_t broken = e1000_stats.rx_short;
	unsigned in_two = 0;

	client.leaves = true;
	client.bytes = 0;
	for (unsigned n = 0; n < 2000; n += 20) {
		for (unsigned i = 0; i < 20; i++)
			fake_receive(frame, i == 7 ? 10 : 66);
		client.shows = client.inputs = 0;
		shim_run();
		assert_int_equal(client.inputs, 19);
		assert_in_range(client.shows, 1, 2);
		in_two += client.shows == 2;
	}
	assert_in_range(in_two, 1, 2000 / RING);
	assert_int_equal(e1000_stats.rx_packets - frames, 100 * 19);
	assert_int_equal(e1000_stats.rx_short - broken, 100);
	assert_int_equal(e1000_stats.rx_bytes - bytes, 100 * 19 * 66);
	assert_int_equal(client.bytes, 100 * 19 * 66);
	assert_in_range(client.out, RING - 1, RING);
	client.leaves = false;
}

static void a_shared_lines_interrupt_is_not_ours_and_costs_nothing_while_polling(void **state)
{
	assert_false(fake_interrupt_elsewhere());
	receive(0); // now masked
	unsigned reads = fake_reads();
	assert_false(fake_interrupt_elsewhere());
	assert_int_equal(fake_reads(), reads);
	shim_run();
	assert_int_equal(client.inputs, 1);
}

static void a_link_change_while_polling_is_not_lost(void **state)
{
	receive(0);
	fake_set_link(false);
	shim_run();
	assert_false(client.link);
	assert_int_equal(client.inputs, 1);
	fake_set_link(true);
	shim_run();
	assert_true(client.link);
}

static void stop_gives_buffers_back_and_late_interrupts_do_nothing(void **state)
{
	receive(0);
	dev->stop(dev);
	assert_int_equal(client.out, 0);
	assert_int_equal(client.unused, RING - 1);
	shim_run();
	assert_int_equal(client.inputs, 0);
	assert_false(fake_interrupt_elsewhere());
	assert_int_equal(dev->start(dev), 0);
	shim_run();
	receive(0);
	shim_run();
	assert_int_equal(client.inputs, 1);
	assert_int_equal(client.out, E1000_RX_FIRST - 1);
	shim_advance(E1000_RX_REST);
	assert_true(client.out > WELL);
}

static void the_cards_own_counters_are_added_up(void **state)
{
	uint64_t before = kstat_get("pagewire_e1000_card_total", "counter=\"mpc\"");
	fake_missed(3);
	assert_int_equal(kstat_get("pagewire_e1000_card_total", "counter=\"mpc\""), before + 3);
	fake_missed(4);
	assert_int_equal(kstat_get("pagewire_e1000_card_total", "counter=\"mpc\""), before + 7);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, client_setup_rx, client_teardown_rx)
int main(void)
{
	shim_seed();
	const struct CMUnitTest tests[] = {
	    TEST(the_card_is_set_up_as_the_manual_says),
	    TEST(a_frame_goes_up_after_one_interrupt_and_four_accesses),
	    TEST(frames_of_a_batch_go_up_in_order_with_one_interrupt),
	    TEST(ten_thousand_frames_wrap_the_ring_in_order),
	    TEST(frames_that_arrive_during_polling_do_not_interrupt),
	    TEST(a_frame_that_slips_in_while_polling_ends_is_not_lost),
	    TEST(an_answer_within_the_doorbell_is_taken_in_the_same_poll),
	    TEST(an_empty_pool_lets_the_ring_run_dry_and_loses_nothing),
	    TEST(a_dry_ring_recovers_by_itself_when_the_pool_does),
	    TEST(refill_asks_for_nothing_while_the_ring_is_well_filled),
	    TEST(bad_frames_are_dropped_and_counted_and_the_card_has_their_buffers_again),
	    TEST(buffers_that_are_not_kept_go_round_without_the_pool),
	    TEST(kept_and_returned_buffers_come_to_the_card_as_they_should),
	    TEST(a_batch_is_shown_in_one_piece),
	    TEST(a_shared_lines_interrupt_is_not_ours_and_costs_nothing_while_polling),
	    TEST(a_link_change_while_polling_is_not_lost),
	    TEST(stop_gives_buffers_back_and_late_interrupts_do_nothing),
	    TEST(the_cards_own_counters_are_added_up),
	};
	return cmocka_run_group_tests(tests, setup_group, NULL);
}
