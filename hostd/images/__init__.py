"""Guest images: kernel, initramfs and read-only root file system, built from Debian packages."""
