; SPDX-License-Identifier: BSD-2-Clause
; The floor's way in: PVH (32-bit protected mode, no paging) to 64-bit code with the first 4 GB mapped one to
; one, the registers of devices included, and no interrupts ever.
bits 32
section .note.pvh note alloc noexec nowrite align=4
	dd 4, 4, 18			; name and descriptor sizes, XEN_ELFNOTE_PHYS32_ENTRY
	db "Xen", 0
	dd start

section .text
global start
extern floor_main
start:
	mov	esp, stack_top
	mov	edi, pd			; 4 page directories: 2,048 pages of 2 MB
	mov	eax, 0x83
	mov	ecx, 2048
.fill:	mov	[edi], eax
	mov	dword [edi + 4], 0
	add	eax, 0x200000
	add	edi, 8
	loop	.fill
	mov	eax, pd + 3
	mov	edi, pdpt
	mov	ecx, 4
.dirs:	mov	[edi], eax
	add	eax, 4096
	add	edi, 8
	loop	.dirs
	mov	dword [pml4], pdpt + 3
	mov	eax, pml4
	mov	cr3, eax
	mov	eax, cr4
	or	eax, 1 << 5		; PAE
	mov	cr4, eax
	mov	ecx, 0xc0000080		; EFER.LME
	rdmsr
	or	eax, 1 << 8
	wrmsr
	mov	eax, cr0
	or	eax, 1 << 31
	mov	cr0, eax
	lgdt	[gdtr]
	jmp	8:long_mode
bits 64
long_mode:
	xor	eax, eax
	mov	ss, eax
	mov	ds, eax
	mov	es, eax
	call	floor_main
.halt:	hlt
	jmp	.halt

section .rodata
align 8
gdt:	dq 0, 0x00209a0000000000
gdtr:	dw 15
	dd gdt

section .bss
align 4096
pml4:	resb 4096
pdpt:	resb 4096
pd:	resb 4 * 4096
	resb 16384
stack_top:
