// SPDX-License-Identifier: BSD-2-Clause
// When TCP's timers look at a connection, see tcp_timer.h.
#include "tcp_timer.h"
#include "lwip/priv/tcp_priv.h"
#include "tcp_recover.h"

#define NEVER UINT32_MAX

// Fast WTD context: no lock.
static struct tcp_wheel fast_wheel, slow_wheel;
static struct tcp_wheel_node *touched;		   // to be looked at at the next fast tick
static struct tcp_wheel_node *fast_due, *slow_due; // at this one
uint64_t tcp_timer_visits;

static struct tcp_pcb *by_fast(struct tcp_wheel_node *node)
{
	return node ? CONTAINER_OF(node, struct tcp_pcb, timers.fast) : NULL;
}

static struct tcp_pcb *by_slow(struct tcp_wheel_node *node)
{
	return node ? CONTAINER_OF(node, struct tcp_pcb, timers.slow) : NULL;
}

// The ticks that went by untouched: nothing but time has happened in them.
static void count(struct tcp_pcb *pcb)
{
	struct tcp_timers *t = &pcb->timers;
	uint32_t fast = fast_wheel.now - t->fast.seen, slow = slow_wheel.now - t->slow.seen;

	t->fast.seen = fast_wheel.now;
	t->slow.seen = slow_wheel.now;
	if (pcb->rtime >= 0 && !pcb->persist_backoff)
		pcb->rtime = (int16_t)MIN(pcb->rtime + MIN(fast, INT16_MAX), INT16_MAX);
	pcb->polltmr = (uint8_t)MIN(pcb->polltmr + MIN(slow, UINT8_MAX), UINT8_MAX);
	if (pcb->persist_backoff)
		pcb->persist_cnt = (uint8_t)MIN(pcb->persist_cnt + MIN(slow, UINT8_MAX), UINT8_MAX);
}

static void touch(struct tcp_pcb *pcb)
{
	tcp_wheel_take(&pcb->timers.fast);
	tcp_wheel_push(&touched, &pcb->timers.fast);
	pcb->timers.touched = true;
}

void tcp_timer_touch(struct tcp_pcb *pcb)
{
	if (!pcb->link || pcb->node.kind != TCP_HASH_PCB)
		return; // not active yet, or no longer
	count(pcb);
	touch(pcb);
}

void tcp_timer_begin(struct tcp_pcb *pcb)
{
	pcb->timers.fast.seen = fast_wheel.now;
	pcb->timers.slow.seen = slow_wheel.now;
	touch(pcb);
}

void tcp_timer_end(struct tcp_pcb *pcb)
{
	tcp_wheel_take(&pcb->timers.fast);
	tcp_wheel_take(&pcb->timers.slow);
	pcb->timers.touched = false;
}

bool tcp_timer_idle(const struct tcp_pcb *pcb)
{
	return !pcb->timers.fast.link && !pcb->timers.slow.link;
}

// ---- deadlines: ticks from now, at least 1, or NEVER --------------------------------------------------

static uint32_t ticks_until(int32_t ticks)
{
	return (uint32_t)MAX(ticks, 1);
}

// What tcp_fast_look does.
static uint32_t fast_ticks(const struct tcp_pcb *pcb)
{
	uint32_t ticks = NEVER;
	int32_t probe;

	if (pcb->flags & (TF_ACK_DELAY | TF_CLOSEPEND | TF_NAGLEMEMERR) || pcb->refused_data)
		return 1;
	if (pcb->rtime < 0 || pcb->persist_backoff || (!pcb->unacked && !pcb->unsent))
		return NEVER;
	if (pcb->rtime < pcb->rto || !tcp_given_up(pcb))
		ticks = ticks_until(pcb->rto - pcb->rtime);
	probe = tcp_recover_probe_after(pcb);
	if (probe >= 0 && probe < pcb->rto)
		ticks = MIN(ticks, ticks_until(probe - pcb->rtime));
	return ticks;
}

// A time of tcp_ticks, in milliseconds after the last segment came, that must be over.
static uint32_t silent_for(const struct tcp_pcb *pcb, uint32_t ms)
{
	return ticks_until((int32_t)(pcb->tmr + ms / TCP_SLOW_INTERVAL + 1 - tcp_ticks));
}

// The end that the state comes to if the peer says nothing.
static uint32_t state_ends(const struct tcp_pcb *pcb)
{
	uint32_t ms = tcp_end_ms(pcb);

	if (ms)
		return silent_for(pcb, ms);
	if (pcb->state != ESTABLISHED && pcb->state != CLOSE_WAIT)
		return NEVER;
	return ip_get_option(pcb, SOF_KEEPALIVE) ? silent_for(pcb, tcp_keepalive_ms(pcb)) : NEVER;
}

// ---- the user's time-out --------------------------------------------------------------------------------

enum { NOTHING, ACKNOWLEDGEMENT, WINDOW };

// An acknowledgement, and what begins or ends to wait, start its time anew.
static void user_progress(struct tcp_pcb *pcb)
{
	struct tcp_timers *t = &pcb->timers;
	uint8_t waits = pcb->persist_backoff ? WINDOW : pcb->unacked ? ACKNOWLEDGEMENT : NOTHING;

	if (waits && waits == t->user_waits && pcb->lastack == t->user_acked)
		return;
	t->user_waits = waits;
	t->user_acked = pcb->lastack;
	t->user_since = tcp_ticks;
}

// Slow ticks until it is over: 0 or less, it is. Not before something was sent again or probed: a path may be slower
// than its user thinks.
static int64_t user_left(const struct tcp_pcb *pcb)
{
	const struct tcp_timers *t = &pcb->timers;

	if (!t->user_timeout || t->user_waits == NOTHING ||
	    (t->user_waits == WINDOW ? pcb->persist_backoff < 2 : !pcb->nrtx))
		return INT64_MAX;
	return (int64_t)t->user_timeout / TCP_SLOW_INTERVAL + 1 - (tcp_ticks - t->user_since);
}

bool tcp_timer_user_over(struct tcp_pcb *pcb)
{
	if (!pcb->timers.user_timeout)
		return false;
	user_progress(pcb);
	return user_left(pcb) <= 0;
}

// What tcp_slow_look does.
static uint32_t slow_ticks(const struct tcp_pcb *pcb)
{
	uint32_t ticks = state_ends(pcb);
	int64_t user = user_left(pcb);

	if (user != INT64_MAX)
		ticks = (uint32_t)MIN((int64_t)ticks, MAX(user, 1));
	if (pcb->rtime >= pcb->rto && tcp_given_up(pcb))
		return 1;
	if (pcb->persist_backoff)
		ticks = MIN(ticks, pcb->persist_probe >= tcp_rexmit_most(pcb)
				       ? 1
				       : ticks_until(tcp_persist_ticks(pcb) - pcb->persist_cnt));
	else if (pcb->unsent && !pcb->unacked)
		return 1; // nothing else would send it
	if (pcb->flags & TF_NAGLEMEMERR)
		return 1;
	if (pcb->ooseq)
		ticks = MIN(ticks, ticks_until((int32_t)(pcb->tmr - tcp_ticks) +
					       TCP_OOSEQ_TIMEOUT / TCP_SLOW_INTERVAL));
	if (pcb->poll)
		ticks = MIN(ticks, ticks_until(pcb->pollinterval - pcb->polltmr));
	return ticks;
}

// An entry that comes too early stays: whoever looks then sees that nothing is due.
static void settle_slow(struct tcp_pcb *pcb)
{
	struct tcp_wheel_node *node = &pcb->timers.slow;
	uint32_t ticks = slow_ticks(pcb);

	if (node->link && ticks != NEVER && node->at - slow_wheel.now <= ticks)
		return;
	tcp_wheel_take(node);
	if (ticks != NEVER)
		tcp_wheel_put(&slow_wheel, node, ticks);
}

void tcp_timer_settle(struct tcp_pcb *pcb)
{
	uint32_t ticks = fast_ticks(pcb);

	if (pcb->timers.user_timeout)
		user_progress(pcb);
	settle_slow(pcb);
	if (ticks == 1)
		return; // stays touched
	tcp_wheel_take(&pcb->timers.fast);
	pcb->timers.touched = false;
	if (ticks != NEVER)
		tcp_wheel_put(&fast_wheel, &pcb->timers.fast, ticks);
}

// ---- ticks ----------------------------------------------------------------------------------------------

void tcp_timer_fast_tick(void)
{
	struct tcp_wheel_node *node;

	while ((node = touched)) {
		tcp_wheel_take(node);
		tcp_wheel_push(&fast_due, node);
	}
	tcp_wheel_turn(&fast_wheel, &fast_due);
}

void tcp_timer_slow_tick(void)
{
	tcp_wheel_turn(&slow_wheel, &slow_due);
}

struct tcp_pcb *tcp_timer_fast_next(void)
{
	struct tcp_pcb *pcb = by_fast(fast_due);

	if (pcb) {
		count(pcb);
		touch(pcb);
		tcp_timer_visits++;
	}
	return pcb;
}

struct tcp_pcb *tcp_timer_slow_next(void)
{
	struct tcp_pcb *pcb = by_slow(slow_due);

	if (pcb) {
		tcp_wheel_take(&pcb->timers.slow);
		count(pcb);
		touch(pcb);
		tcp_timer_visits++;
	}
	return pcb;
}

struct tcp_pcb *tcp_timer_next_touched(const struct tcp_pcb *after)
{
	return by_fast(after ? after->timers.fast.next : touched);
}
