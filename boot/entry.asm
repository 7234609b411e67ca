; SPDX-License-Identifier: BSD-2-Clause
; From the boot loader to C. Two doors: Multiboot2 (GRUB, BIOS or UEFI) and PVH (qemu -kernel). Both
; arrive in 32-bit protected mode with paging off, interrupts off and a pointer in EBX; both leave
; through kmain(door, pointer, TSC at entry) in long mode, in the higher half, on the boot stack.
;
; The page tables below are ready-made data: physical 0..4 GB at its own address, in the direct map
; and (the first GB) at KERNEL_BASE. vmm_init replaces them, and nothing here is used again.

KERNEL_BASE equ 0xffffffff80000000
DOOR_MULTIBOOT2 equ 0
DOOR_PVH equ 1
BOOT_STACK_BYTES equ 16384

extern kmain
global boot_multiboot2
global boot_stack_guard
global boot_stack_top
global __stack_chk_guard

section .boot.header progbits alloc exec write align=8
header:
	dd 0xe85250d6, 0, header_end - header, -(0xe85250d6 + (header_end - header))
	align 8
	dw 1, 1				; information wanted, all optional
	dd 8 + 6 * 4
	dd 1, 3, 6, 8, 14, 15		; command line, modules, memory map, framebuffer, RSDP old and new
	align 8
	dw 5, 1				; framebuffer, optional, any size
	dd 20, 0, 0, 32
	align 8
	dw 0, 0
	dd 8
header_end:

section .note.pvh note alloc noexec nowrite align=4
	dd 4, 4, 18			; XEN_ELFNOTE_PHYS32_ENTRY
	db "Xen", 0
	dd boot_pvh

section .boot progbits alloc exec write align=4096
boot_pml4:
	dq boot_pdpt + 3
	times 255 dq 0
	dq boot_pdpt + 3		; direct map
	times 254 dq 0
	dq boot_pdpt_high + 3
boot_pdpt:
	dq boot_pd + 3, boot_pd + 0x1003, boot_pd + 0x2003, boot_pd + 0x3003
	times 508 dq 0
boot_pdpt_high:
	times 510 dq 0
	dq boot_pd + 3, 0
boot_pd:
%assign frame 0
%rep 2048
	dq frame + 0x83			; present, writable, 2 MB
%assign frame frame + 0x200000
%endrep

boot_gdt:
	dq 0
	dq 0x00af9b000000ffff		; 64-bit code
	dq 0x00cf93000000ffff		; data
boot_gdtr:
	dw $ - boot_gdt - 1
	dd boot_gdt
no_long_mode_text:
	db "Pagewire needs a 64-bit processor.", 0
	align 8
boot_small_stack:
	times 64 dq 0
boot_small_stack_top:

bits 32
boot_multiboot2:
	mov ebp, DOOR_MULTIBOOT2
	jmp boot_common
boot_pvh:
	mov ebp, DOOR_PVH
boot_common:
	cld
	cli
	mov esp, boot_small_stack_top
	rdtsc
	mov esi, eax
	mov edi, edx
	push ebx
	mov eax, 0x80000000
	cpuid
	cmp eax, 0x80000001
	jb no_long_mode
	mov eax, 0x80000001
	cpuid
	bt edx, 29
	jnc no_long_mode
	pop ebx

	mov eax, boot_pml4
	mov cr3, eax
	mov eax, 1 << 5			; CR4.PAE
	mov cr4, eax
	mov ecx, 0xc0000080		; EFER.LME
	rdmsr
	or eax, 1 << 8
	wrmsr
	mov eax, 0x80010011		; CR0: PG, WP, ET, PE; no emulation, caches on
	mov cr0, eax
	lgdt [boot_gdtr]
	jmp 8:boot_long

; To the VGA text screen and the first serial port; there is nothing else yet.
no_long_mode:
	mov esi, no_long_mode_text
	mov edi, 0xb8000
.next:
	lodsb
	test al, al
	jz .stop
	mov ah, 0x4f
	stosw
	mov dx, 0x3f8
	out dx, al
	jmp .next
.stop:
	hlt
	jmp .stop

bits 64
boot_long:
	mov eax, 16
	mov ss, eax
	mov ds, eax
	mov es, eax
	xor eax, eax
	mov fs, eax
	mov gs, eax
	mov rsp, boot_stack_top
	mov edx, esi			; kmain's third argument: entry TSC
	mov rax, rdi
	shl rax, 32
	or rdx, rax
	mov edi, ebp			; door
	mov esi, ebx			; pointer
	mov rax, boot_high
	jmp rax

section .text
; The stack guard is drawn before the first C function runs, so that no frame sees it change. Its low
; byte is 0, so that a string overrun cannot write it.
boot_high:
	push rdx
	mov eax, 1
	cpuid
	bt ecx, 30
	jnc .no_rdrand
	rdrand rax
	jc .have
.no_rdrand:
	rdtsc
	shl rdx, 32
	or rax, rdx
	mov rcx, 0x9e3779b97f4a7c15
	imul rax, rcx
	mov rcx, rax
	shr rcx, 29
	xor rax, rcx
	mov rcx, 0xbf58476d1ce4e5b9
	imul rax, rcx
.have:
	shl rax, 8
	mov [rel __stack_chk_guard], rax
	pop rdx
	xor ebp, ebp			; end of the frame chain
	push rbp
	push rbp
	call kmain
.stop:
	hlt
	jmp .stop

section .data
	align 8
__stack_chk_guard:
	dq 0

section .stacks nobits alloc noexec write align=4096
boot_stack_guard:
	resb 4096
	resb BOOT_STACK_BYTES
boot_stack_top:
