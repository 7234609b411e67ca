// SPDX-License-Identifier: BSD-2-Clause
// Everything at once, at random from one printed seed: threads that sleep, wait, yield and lock,
// WTDs of both classes posted, armed and cancelled from threads, WTDs and interrupts. What was
// posted and not cancelled must have run; what was locked must have been alone.
#include "tests/guest/sched_tools.h"
#include "kernel/cpu.h"
#include "kernel/irq.h"
#include "kernel/ktest.h"
#include "kernel/sched.h"

#define NODES	 32
#define THREADS	 6
#define DURATION (2 * NS_PER_SEC)
#define LEAST	 1500 // WTDs: where the host stands still it takes longer

struct node {
	struct wtd work;
	volatile uint32_t queued, ran; // atomic
};
static struct node nodes[NODES];
static uint64_t random_state; // atomic
static uint64_t end_at;
static volatile uint32_t threads_over, irqs, alone, total; // total: WTDs run, atomic
static unsigned vector;
static struct mutex mutex = MUTEX_INIT("stress");
static struct spinlock lock = SPINLOCK_INIT("stress", RANK_HTTP);
static struct waitq queue;
static uint32_t tokens;

// SplitMix64: any number of callers, each gets its own step.
static uint64_t random(void)
{
	uint64_t z = __atomic_add_fetch(&random_state, 0x9e3779b97f4a7c15, __ATOMIC_RELAXED);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

// A node is counted as queued before it is posted and taken off if the post did nothing, so that
// its run cannot come before its count.
static void post_one(void)
{
	struct node *n = &nodes[random() % NODES];
	bool posted;

	__atomic_fetch_add(&n->queued, 1, __ATOMIC_RELAXED);
	if (random() % 2)
		posted = wtd_post_fast(&n->work);
	else
		posted = wtd_post(&n->work);
	if (!posted)
		__atomic_fetch_sub(&n->queued, 1, __ATOMIC_RELAXED);
}

static void act_on_node(void)
{
	struct node *n = &nodes[NODES / 2 + random() % (NODES / 2)];

	if (random() % 4 == 0)
		(void)wtd_cancel(&n->work);
	else
		(void)wtd_post_after(&n->work, random() % 2 ? WTD_FAST : WTD_SLEEP,
				     random() % (2 * NS_PER_MS));
}

static void use_mutex(void)
{
	mutex_lock(&mutex);
	EXPECT_EQ(alone, 0);
	alone = 1;
	if (random() % 4 == 0)
		thread_sleep_ns(random() % (100 * NS_PER_US));
	alone = 0;
	mutex_unlock(&mutex);
}

static void pass_token(bool may_wait)
{
	spin_lock_wtd(&lock);
	if (may_wait && random() % 2) {
		if (!tokens)
			waitq_sleep_for(&queue, &lock, random() % NS_PER_MS);
		tokens -= tokens > 0;
	} else {
		tokens++;
		waitq_wake_one(&queue);
	}
	spin_unlock_wtd(&lock);
}

static void node_runs(struct wtd *work)
{
	struct node *n = CONTAINER_OF(work, struct node, work);
	bool sleeping = !this_cpu()->in_fast_wtd;

	__atomic_fetch_add(&n->ran, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&total, 1, __ATOMIC_RELAXED);
	EXPECT(this_cpu()->irq_depth == 0);
	if (random() % 8 == 0 && clock_ns() < end_at)
		post_one();
	if (!sleeping)
		return;
	EXPECT(may_sleep());
	if (random() % 16 == 0)
		thread_sleep_ns(random() % (200 * NS_PER_US));
	if (random() % 16 == 0)
		use_mutex();
}

static bool interrupt(void *arg)
{
	irqs++;
	post_one();
	return true;
}

static void stress_thread(void *arg)
{
	while (clock_ns() < end_at || total < LEAST) {
		switch (random() % 8) {
		case 0:
			thread_sleep_ns(random() % (300 * NS_PER_US));
			break;
		case 1:
			thread_yield();
			break;
		case 2:
			use_mutex();
			break;
		case 3:
			pass_token(true);
			break;
		case 4:
			irq_raise_self(vector);
			break;
		case 5:
			act_on_node();
			break;
		default:
			post_one();
		}
		EXPECT(may_sleep());
	}
	__atomic_fetch_add(&threads_over, 1, __ATOMIC_RELAXED);
}

static bool all_idle(void)
{
	for (int n = 0; n < NODES; n++)
		if (nodes[n].work.state != WTD_IDLE ||
		    (n < NODES / 2 && nodes[n].ran != nodes[n].queued))
			return false;
	return true;
}

KTEST("wtd-stress", all, "everything-at-once-loses-nothing")
{
	uint64_t until, seed = cpu_random(), runs = 0;

	random_state = seed;
	ktest_note("seed 0x%lx", seed);
	if (!vector && irq_attach_self(interrupt, NULL, "stress", &vector))
		ktest_skip("no vector");
	for (int n = 0; n < NODES; n++) {
		nodes[n].queued = nodes[n].ran = 0;
		wtd_init(&nodes[n].work, node_runs, "stress");
	}
	worker_idle_life = 10 * NS_PER_MS; // the pool may grow, and the runner counts threads
	threads_over = alone = irqs = total = 0;
	tokens = 0;
	end_at = clock_ns() + DURATION;
	for (int n = 0; n < THREADS; n++)
		EXPECT(thread_create("stress", n % 3 ? THREAD_NORMAL : THREAD_LOW, stress_thread,
				     NULL) != NULL);
	until = end_at + PATIENCE_NS;
	while (threads_over < THREADS && clock_ns() < until)
		thread_sleep_ns(10 * NS_PER_MS);
	EXPECT_EQ(threads_over, THREADS);
	while (!all_idle() && clock_ns() < until)
		thread_sleep_ns(10 * NS_PER_MS);
	for (int n = 0; n < NODES; n++) {
		EXPECT_EQ(nodes[n].work.state, WTD_IDLE);
		if (n < NODES / 2) // the others are also armed and cancelled
			EXPECT_EQ(nodes[n].ran, nodes[n].queued);
		runs += nodes[n].ran;
	}
	while (stats_of(WTD_SLEEP).workers > WORKERS_MIN && clock_ns() < until)
		thread_sleep_ns(5 * NS_PER_MS);
	worker_idle_life = WORKER_IDLE_LIFE;
	EXPECT(queue.first == NULL);
	EXPECT(mutex.holder == NULL);
	ktest_note("%lu WTDs, %u interrupts", runs, irqs);
	EXPECT(runs > 1000);
}
