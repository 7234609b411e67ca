# SPDX-License-Identifier: BSD-2-Clause
# gdb commands for Pagewire's own structures: help user-defined
set print pretty on
set pagination off

define pw-pools
  set $pool = pools
  printf "pool                         used     high    total   failed\n"
  while $pool
    printf "%-24s %8u %8u %8u %8lu\n", $pool->name, $pool->used, $pool->high, $pool->total, $pool->failed
    set $pool = $pool->next
  end
end
document pw-pools
Every pool: objects in use, the most ever in use, made, refused.
end

define pw-page
  set $page = (struct page *)$arg0
  printf "frame %#lx  index %lu  state %u  wire %u  flags %#x  owner %p\n", ($page - pages) << 12, $page->index, $page->state, $page->wire, $page->flags, $page->owner
end
document pw-page
pw-page ADDRESS: a struct page. States: 0 EMPTY 1 READING 2 CLEAN 3 DIRTY 4 WRITING.
end

define pw-frame
  pw-page &pages[($arg0) >> 12]
end
document pw-frame
pw-frame PHYSICAL: the struct page of a physical address.
end

define pw-queues
  set $class = 0
  while $class < 2
    set $queue = &scheds[0].queue[$class]
    printf "class %u: posted %lu run %lu depth %u high %u hogs %lu\n", $class, $queue->figures.posted, $queue->figures.run, $queue->figures.depth_high - $queue->figures.room, $queue->figures.depth_high, $queue->figures.hogs
    set $work = $queue->head.next
    while $work != &$queue->head
      printf "  %s ", $work->owner
      info symbol $work->fn
      set $work = $work->next
    end
    set $class = $class + 1
  end
end
document pw-queues
What is to be done on processor 0: both WTD queues (0 fast, 1 may sleep) with their figures.
end

define pw-threads
  set $list = 0
  while $list < 4
    set $thread = scheds[0].ready[$list].first
    while $thread
      printf "ready, priority %u: %s\n", $list, $thread->name
      set $thread = $thread->next
    end
    set $list = $list + 1
  end
end
document pw-threads
Ready threads and workers of processor 0, by priority (3: workers).
end

define pw-disks
  set $disk = block_first()
  while $disk
    printf "%-12s %lu sectors, %lu reads, %lu errors, %u in flight\n", $disk->name, $disk->sectors, $disk->ops[0], $disk->errors, $disk->in_flight
    set $disk = $disk->next
  end
end
document pw-disks
Block devices and what they have done.
end

echo Pagewire: pw-pools pw-page pw-frame pw-queues pw-threads pw-disks (help user-defined)\n
