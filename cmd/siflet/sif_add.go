package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/siflet/siflet/runtime/sif"
)

// addOptions are the flags of sif add, which are siftool's.
type addOptions struct {
	datatype, parttype, partfs, partarch, signhash int
	signentity, sbomformat, filename               string
	group, link                                    uint32
	alignment                                      int64
	force                                          bool
}

// Names by the numbers that siftool has for them, counted from one. Either can be given.
func objectTypes() []string {
	return []string{
		"Deffile", "EnvVar", "Labels", "Partition", "Signature", "GenericJSON", "Generic", "CryptoMessage", "SBOM", "OCI.RootIndex", "OCI.Blob",
	}
}

func partTypes() []string { return []string{"System", "PrimSys", "Data", "Overlay"} }

func partFileSystems() []string { return []string{"Squash", "Ext3", "ImmuObj", "Raw"} }

func signHashes() []string {
	return []string{"SHA256", "SHA384", "SHA512", "BLAKE2s_256", "BLAKE2b_256"}
}

func architectures() []string {
	return []string{
		"386", "amd64", "arm", "arm64", "ppc64", "ppc64le", "mips", "mipsle", "mips64", "mips64le", "s390x", "riscv64", "loong64",
	}
}

func (w *workshop) sifAddCommand() *cobra.Command {
	var o addOptions
	cmd := &cobra.Command{
		Use: "add [flags] FILE OBJECT", Short: "add an object, which is read from a file or, with -, from standard input",
		Long: "Add an object, which is read from a file or, with -, from standard input. Values are the names below,\n" +
			"or their numbers, counted from one, as Singularity's siftool has them.",
		Example: "  siflet sif add image.sif notes.json --datatype GenericJSON\n" +
			"  siflet sif add image.sif root.squashfs --datatype 4 --parttype 1 --partfs 1 --partarch 2",
		Args: exactly(2, "want a SIF file and a file with the object"), //nolint:mnd // those two
		RunE: func(cmd *cobra.Command, args []string) error {
			addition, err := o.addition(cmd.Flags(), args[1])
			if err != nil {
				return err
			}
			ctx, stop := toldToStop(cmd.Context())
			defer stop()
			in := cmd.InOrStdin()
			if args[1] != "-" {
				f, err := os.Open(args[1])
				if err != nil {
					return fmt.Errorf("%s: %w", args[1], unwrapPath(err))
				}
				defer f.Close() //nolint:errcheck // read only
				if info, err := f.Stat(); err == nil && info.IsDir() {
					return fmt.Errorf("%s: it is a directory", args[1])
				}
				in = f
			}
			addition.Data = in
			added, err := sif.Add(ctx, args[0], addition)
			if err != nil {
				return editFailure(err, args[0])
			}
			return w.warnUnsigned(args[0], added)
		},
	}
	o.flags(cmd.Flags())
	for name, values := range map[string][]string{
		"datatype": objectTypes(), "parttype": partTypes(), "partfs": partFileSystems(), "partarch": architectures(),
		"signhash": signHashes(), "sbomformat": sif.SBOMFormats(),
	} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	return cmd
}

// warnUnsigned says that a file is signed and its new object not.
func (w *workshop) warnUnsigned(path string, added sif.Descriptor) error {
	f, err := openSIF(path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read only
	if signed(f) && added.Type != sif.TypeSignature && len(f.Signatures(added)) == 0 {
		warn(w.stderr, "no signature in %s covers object %d: the file as a whole does not verify until it is signed again", path, added.ID)
	}
	return nil
}

func (o *addOptions) flags(f *pflag.FlagSet) {
	f.SortFlags = false
	for _, c := range []struct {
		to    *int
		name  string
		names []string
		usage string
	}{
		{&o.datatype, "datatype", objectTypes(), "the type of the object, which is needed"},
		{&o.parttype, "parttype", partTypes(), "the type of a partition"},
		{&o.partfs, "partfs", partFileSystems(), "the file system of a partition"},
		{&o.partarch, "partarch", architectures(), "the architecture of a partition"},
		{&o.signhash, "signhash", signHashes(), "the hash of a signature"},
	} {
		f.Var(&choice{c.to, c.names}, c.name, c.usage+": "+strings.Join(c.names, ", "))
	}
	f.StringVar(&o.signentity, "signentity", "", "the fingerprint of the key of a signature, in hexadecimal")
	f.StringVar(&o.sbomformat, "sbomformat", "", "the format of a bill of materials: "+strings.Join(sif.SBOMFormats(), ", "))
	f.Uint32Var(&o.group, "groupid", 0, "the group of the object (default none)")
	f.Uint32Var(&o.link, "link", 0, "the ID of an object that it belongs to (default none)")
	f.Int64Var(&o.alignment, "alignment", 0, "what its place in the file is a multiple of (default 4096 for a partition)")
	f.StringVar(&o.filename, "filename", "", "the name of the object (default that of its file)")
	f.BoolVar(&o.force, "force", false, "add to a group that is signed, too")
}

// choice is one of names, or its number.
type choice struct {
	to    *int
	names []string
}

func (c *choice) String() string { return "" }
func (c *choice) Type() string   { return "name" }

func (c *choice) Set(text string) error {
	for i, name := range c.names {
		if strings.EqualFold(text, name) || text == strconv.Itoa(i+1) && !slices.Contains(c.names, text) {
			*c.to = i + 1
			return nil
		}
	}
	return fmt.Errorf("want one of %s, or its number", strings.Join(c.names, ", "))
}

// addition is what the flags say of an object.
func (o *addOptions) addition(f *pflag.FlagSet, file string) (sif.Addition, error) {
	a := sif.Addition{
		Object: sif.Object{Type: sif.TypeDefinition + sif.DataType(o.datatype-1), Name: o.filename},
		Group:  o.group, Link: o.link, Alignment: o.alignment, Force: o.force,
	}
	if !f.Changed("filename") && file != "-" {
		a.Name = filepath.Base(file)
	}
	switch {
	case o.datatype == 0:
		return a, usageError{text: "want --datatype: " + strings.Join(objectTypes(), ", ")}
	case a.Type == sif.TypePartition:
		if o.parttype == 0 || o.partfs == 0 || o.partarch == 0 {
			return a, usageError{text: "a partition needs --parttype, --partfs and --partarch"}
		}
		a.FS, a.Part, a.Arch = sif.FSType(o.partfs), sif.PartType(o.parttype), architectures()[o.partarch-1]
	case a.Type == sif.TypeSignature:
		entity, err := hex.DecodeString(o.signentity)
		if err != nil || len(entity) != 20 {
			return a, usageError{text: "a signature needs --signentity: a fingerprint of 40 hexadecimal digits"}
		}
		if o.signhash == 0 {
			return a, usageError{text: "a signature needs --signhash: " + strings.Join(signHashes(), ", ")}
		}
		a.Hash, a.Entity = sif.Hash(o.signhash), entity
	case a.Type == sif.TypeSBOM:
		i := slices.Index(sif.SBOMFormats(), strings.ToLower(o.sbomformat))
		if i < 0 {
			return a, usageError{text: "a bill of materials needs --sbomformat: " + strings.Join(sif.SBOMFormats(), ", ")}
		}
		a.SBOM = sif.SBOMFormat(i + 1)
	}
	if a.Type != sif.TypePartition && (o.parttype != 0 || o.partfs != 0 || o.partarch != 0) {
		return a, errors.New("--parttype, --partfs and --partarch are for partitions: --datatype Partition")
	}
	return a, nil
}
