// SPDX-License-Identifier: BSD-2-Clause
// Jumbo frames as chains of receive buffers, see longframe.h. What such a chain costs in buffers is less than what as
// many bytes in frames of 1,514 bytes cost: all but its last are full.
#include "net/longframe.h"
#include "kernel/kstat.h"
#include "net/rxpool.h"

static uint64_t long_frames;
KSTAT_COUNTER(long_frames, "pagewire_net_rx_long_frames_total",
	      "Frames received that were longer than a receive buffer.");

static void drop(struct longframe *frame)
{
	if (frame->begun)
		pbuf_free(frame->begun);
	frame->begun = NULL;
}

// Where there is no room for a part, the frame is lost, as a whole one would be (rxpool_packet counts).
static void append(struct longframe *frame, struct netbuf *part)
{
	struct pbuf *p = rxpool_packet(part->cookie, part->part_bytes);

	if (!p) {
		drop(frame);
		frame->dropped = true;
	} else if (frame->begun) {
		pbuf_cat(frame->begun, p);
	} else {
		frame->begun = p;
	}
}

bool longframe_part(struct longframe *frame, struct netbuf *part, struct pbuf **packet)
{
	bool taken = false;

	*packet = NULL;
	if (part->part == NETBUF_NONE) {
		drop(frame);
		frame->dropped = false;
		return false;
	}
	if (!frame->dropped && part->part_bytes) {
		append(frame, part);
		taken = true;
	}
	if (part->part != NETBUF_LAST)
		return taken;
	*packet = frame->begun;
	long_frames += *packet != NULL;
	*frame = (struct longframe){0};
	return taken;
}
