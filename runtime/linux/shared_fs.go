package linux

// SharedFilesystem names a type of file system that other machines may change too, which
// overlays can't write to; "" is none.
func SharedFilesystem(magic int64) string {
	switch magic {
	case nfsFS:
		return "NFS"
	case cifsFS, smb2FS:
		return "CIFS"
	case cephFS:
		return "Ceph"
	case v9FS:
		return "9P"
	case fuseFS:
		return "FUSE"
	case lustreFS:
		return "Lustre"
	case gpfsFS:
		return "GPFS"
	case beegfsFS:
		return "BeeGFS"
	}
	return ""
}
