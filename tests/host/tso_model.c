// SPDX-License-Identifier: BSD-2-Clause
// The checked stream, see tso_model.h.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lwip/priv/tcp_priv.h"
#include "net/pagebuf.h"
#include "net/stack.h"
#include "shim.h"
#include "tcp_sndbuf.h"
#include "tso_model.h"
#include "tcp_sndbuf.h"

// One stream at a time.
static uint8_t want[STREAM_MAX], got[STREAM_MAX];
static paddr_t where[STREAM_MAX];

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
	struct bed_peer *peer = arg;

	peer->sent += len;
	return ERR_OK;
}

void stream_open(struct stream *stream, uint16_t mss, uint32_t window)
{
	uint8_t options[8] = {2, 4, mss >> 8, mss, 1, 3, 3, STREAM_SCALE};
	struct bed_segment syn_ack;

	memset(stream, 0, sizeof(*stream));
	stream->want = want;
	stream->got = memset(got, 0, sizeof(got));
	stream->where = memset(where, 0, sizeof(where));
	stream->pages[0] = bed_run(0, STREAM_ORDER);
	for (unsigned i = 1; i < STREAM_PAGES; i++)
		stream->pages[i] = stream->pages[0] + i;
	stream->peer = bed_syn(options, sizeof(options), MIN(window, UINT16_MAX));
	do
		syn_ack = bed_next_tcp();
	while (!(syn_ack.flags & TCP_SYN));
	stream->iss = syn_ack.seq + 1;
	stream_ack(stream, window);
	assert_non_null(stream->peer->pcb);
	tcp_sent(stream->peer->pcb, on_sent);
}

void stream_done(struct stream *stream)
{
	for (unsigned i = 0; i < STREAM_PAGES; i++)
		bed_page_done(stream->pages[i]);
}

// ---- the server ----------------------------------------------------------------------------------------

bool stream_page(struct stream *stream, unsigned index, uint16_t offset, uint16_t len)
{
	struct tcp_pcb *pcb = stream->peer->pcb;
	struct page *page = stream->pages[index];

	if (stream->queued + len > STREAM_MAX || pagebuf_write(pcb, page, offset, len, true))
		return false;
	for (unsigned i = 0; i < len; i++) {
		stream->where[stream->queued] = page_phys(page) + offset + i;
		stream->want[stream->queued++] =
		    bed_pattern(index + (offset + i) / PAGE_SIZE, (offset + i) % PAGE_SIZE);
	}
	return true;
}

bool stream_generated(struct stream *stream, uint16_t len)
{
	uint8_t bytes[8192];

	assert_true(len <= sizeof(bytes));
	for (unsigned i = 0; i < len; i++)
		bytes[i] = shim_random();
	if (stream->queued + len > STREAM_MAX || genbuf_write(stream->peer->pcb, bytes, len, false))
		return false;
	memcpy(stream->want + stream->queued, bytes, len);
	stream->queued += len;
	return true;
}

void stream_fill(struct stream *stream, uint32_t bytes)
{
	for (unsigned i = 0; bytes; i++) {
		uint16_t len = MIN(bytes, PAGE_SIZE);

		assert_true(stream_page(stream, i % STREAM_PAGES, 0, len));
		bytes -= len;
	}
}

void stream_push(struct stream *stream)
{
	if (stream->peer->pcb)
		tcp_output(stream->peer->pcb);
	stack_flush();
	shim_run();
}

void stream_close(struct stream *stream)
{
	assert_int_equal(tcp_shutdown(stream->peer->pcb, 0, 1), ERR_OK);
	stream->closed = true;
	stream_push(stream);
}

// ---- the wire ------------------------------------------------------------------------------------------

// Page bytes come from where they lie: each fragment behind the first is part of one page.
static void check_fragments(struct stream *stream, const struct bed_segment *segment)
{
	const struct bed_packet *packet = segment->packet;
	uint32_t at = segment->seq - stream->iss + packet->frags[0].bytes;

	if (!packet->offload.header_bytes)
		return;
	at -= packet->offload.header_bytes;
	for (unsigned i = 1; i < packet->count; i++) {
		for (uint32_t j = 0; j < packet->frags[i].bytes; j++, at++)
			if (stream->where[at])
				assert_true(stream->where[at] == packet->frags[i].addr + j);
	}
}

struct bed_segment stream_look(struct stream *stream)
{
	struct bed_segment segment;
	uint32_t from;

	do {
		segment = bed_next_tcp();
		if (!segment.packet)
			return segment;
	} while (segment.dest != stream->peer->port || segment.flags & TCP_RST);
	from = segment.seq - stream->iss;
	if (segment.len) {
		assert_true(from < stream->queued && segment.len <= stream->queued - from);
		assert_memory_equal(segment.data, stream->want + from, segment.len);
		if (segment.data == segment.packet->frame + segment.packet->offload.header_bytes) {
			check_fragments(stream, &segment);
			stream->big += segment.packet->offload.mss != 0;
		}
		// Inside the window, or a probe of one byte.
		assert_true(from + segment.len <= stream->edge || segment.len == 1);
	}
	if (segment.flags & TCP_FIN) {
		assert_true(stream->closed);
		assert_int_equal(from + segment.len, stream->queued);
		stream->fin_seen = stream->queued + 1;
	}
	stream->high = MAX(stream->high, from + segment.len);
	return segment;
}

bool stream_take(struct stream *stream, const struct bed_segment *segment)
{
	uint32_t from = segment->seq - stream->iss, before = stream->next;

	for (uint32_t i = 0; i < segment->len && from + i < stream->edge; i++)
		stream->got[from + i] = 1;
	while (stream->next < stream->queued && stream->got[stream->next])
		stream->next++;
	return stream->next != before || segment->flags & TCP_FIN;
}

void stream_ack_at(struct stream *stream, uint32_t at, uint32_t window)
{
	uint32_t fin = stream->fin_seen && at == stream->queued;

	memset(stream->got, 1, at);
	stream->next = MAX(stream->next, at);
	window = MAX(window, stream->edge > at ? stream->edge - at : 0);
	window = MIN(window >> STREAM_SCALE, UINT16_MAX);
	stream->edge = MAX(stream->edge, at + (window << STREAM_SCALE));
	stream->peer->window = window;
	stream->acked = MAX(stream->acked, at);
	bed_ack(stream->peer, stream->iss + at + fin);
}

void stream_ack(struct stream *stream, uint32_t window)
{
	stream_ack_at(stream, stream->next, window);
}

void stream_finish(struct stream *stream)
{
	uint32_t end = stream->queued;
	struct bed_segment segment;

	bed.ring_room = 1000;
	for (unsigned step = 0; step < 4000; step++) {
		bool news = false;

		while ((segment = stream_look(stream)).packet) {
			news |= stream_take(stream, &segment);
			if (segment.len || segment.flags & TCP_FIN)
				stream_ack(stream, 100000);
		}
		bed_complete_all();
		if (stream->next == end && (!stream->closed || stream->fin_seen))
			break;
		if (!news) {
			stream_ack(stream, 100000);
			shim_advance(100 * NS_PER_MS);
		}
	}
	assert_int_equal(stream->next, end);
	assert_int_equal(stream->closed, stream->fin_seen != 0);
	stream_ack(stream, 100000);
	if (!stream->peer->pcb)
		return;
	assert_null(stream->peer->pcb->unacked);
	assert_null(stream->peer->pcb->unsent);
	assert_int_equal(stream->peer->pcb->snd_queuelen, 0);
	assert_int_equal(stream->peer->pcb->snd_buf, tcp_sndbuf_limit(stream->peer->pcb));
	assert_int_equal(stream->peer->sent, end);
}
