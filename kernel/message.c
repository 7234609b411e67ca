// SPDX-License-Identifier: BSD-2-Clause
// Messages at the stream head (contract in include/kernel/message.h). Each band is a list and a sum; the bytes are
// copied by stream.c, from wherever the message's maker has them.
#include "kernel/message.h"
#include "kernel/lock.h"
#include "kernel/panic.h"

void message_queue_init(struct message_queue *q, struct stream *stream, uint32_t high,
			void (*back_enable)(struct message_queue *q))
{
	*q = (struct message_queue){
	    .high = high, .low = high / 2, .back_enable = back_enable, .stream = stream};
	q->reader = (struct mutex)MUTEX_INIT("messages");
	for (unsigned n = 0; n < MESSAGE_BANDS; n++)
		q->bands[n].end = &q->bands[n].first;
}

// ---- putting ----

bool message_may_put(struct message_queue *q, enum message_band band, uint32_t cost, uint32_t most)
{
	struct message_list *list = &q->bands[band];
	bool may =
	    !list->first || (uint64_t)list->cost + cost <= MAX((uint64_t)q->high, (uint64_t)most);

	list->full |= !may;
	return may;
}

void message_put(struct message_queue *q, struct message *m)
{
	struct message_list *list = &q->bands[m->band];

	ASSERT(m->cost && m->band < MESSAGE_BANDS);
	m->queue = q;
	m->next = NULL;
	*list->end = m;
	list->end = &m->next;
	list->cost += m->cost;
	if (q->stream)
		stream_notify(q->stream);
}

bool message_room(const struct message_queue *q, enum message_band band)
{
	return !q->bands[band].full && q->bands[band].cost <= q->low;
}

// ---- getting ----

struct message *message_first(const struct message_queue *q)
{
	return q->bands[MESSAGE_HIGH].first ? q->bands[MESSAGE_HIGH].first
					    : q->bands[MESSAGE_NORMAL].first;
}

unsigned message_events(const struct message_queue *q)
{
	return (message_first(q) ? STREAM_IN : 0) | (q->bands[MESSAGE_HIGH].first ? STREAM_PRI : 0);
}

// WTDs off: m is the first of its band.
static void take_off(struct message_queue *q, struct message *m)
{
	struct message_list *list = &q->bands[m->band];
	uint32_t was = list->cost;

	ASSERT(list->first == m);
	list->first = m->next;
	if (!list->first)
		list->end = &list->first;
	list->cost -= m->cost;
	if (list->cost > q->low || (!list->full && was <= q->low))
		return;
	list->full = false;
	if (q->back_enable)
		q->back_enable(q);
}

struct message *message_take(struct message_queue *q)
{
	struct message *m;

	wtd_disable();
	m = message_first(q);
	if (m)
		take_off(q, m);
	wtd_enable();
	return m;
}

void message_free(struct message *m)
{
	m->kind->free(m);
}

void message_flush(struct message_queue *q)
{
	struct message *m;

	while ((m = message_take(q)))
		message_free(m);
}

int message_out(const struct message *m, struct stream_io *io, uint32_t offset, uint32_t bytes)
{
	struct stream_io start = *io;
	int error = 0;

	while (bytes && !error) {
		uint32_t n;
		const void *at = m->kind->piece(m, offset, &n);

		n = MIN(n, bytes);
		error = stream_io_out_direct(io, at, n);
		offset += n;
		bytes -= n;
	}
	if (error)
		*io = start;
	return error;
}

static struct message *wanted(const struct message_queue *q, unsigned flags)
{
	return flags & MESSAGE_ONLY_HIGH ? q->bands[MESSAGE_HIGH].first : message_first(q);
}

// (R) Both parts to who asked, as far as there is room: 0, or -EFAULT and nothing has moved on.
static int parts_out(const struct message *m, struct message_get *get)
{
	uint32_t control_left = m->control_bytes - m->control_at, data_left = m->bytes - m->at;
	struct stream_io before = {0};
	int error = 0;

	get->control_bytes = get->data_bytes = 0;
	if (get->control) {
		before = *get->control;
		get->control_bytes = (uint32_t)MIN(get->control->left, (uint64_t)control_left);
		error = stream_io_out(get->control, (const char *)m->control + m->control_at,
				      get->control_bytes);
	}
	if (!error && get->data) {
		get->data_bytes = (uint32_t)MIN(get->data->left, (uint64_t)data_left);
		error = message_out(m, get->data, m->at, get->data_bytes);
	}
	if (error && get->control)
		*get->control = before;
	get->more = (get->control_bytes < control_left ? MORE_CONTROL : 0) |
		    (get->data_bytes < data_left ? MORE_DATA : 0);
	return error;
}

// (R)
static int get_one(struct message_queue *q, struct message_get *get)
{
	struct message *m = wanted(q, get->flags);
	bool discard = (get->flags & (MESSAGE_DISCARD | MESSAGE_PEEK)) == MESSAGE_DISCARD;
	int error;

	if (!m)
		return -EAGAIN;
	get->band = m->band;
	get->whole = m->bytes;
	error = parts_out(m, get);
	if (error && !discard)
		return error;
	if (!error && get->seen)
		get->seen(m, get->arg);
	if (get->flags & MESSAGE_PEEK)
		return 0;
	if (get->more && !discard) {
		m->control_at += get->control_bytes;
		m->at += get->data_bytes;
		return 0;
	}
	wtd_disable();
	take_off(q, m);
	wtd_enable();
	message_free(m);
	return error;
}

int message_get(struct message_queue *q, struct message_get *get)
{
	int error;

	mutex_lock(&q->reader);
	error = get_one(q, get);
	mutex_unlock(&q->reader);
	return error;
}
