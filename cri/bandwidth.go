package cri

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/siflet/siflet/runtime"
)

// The annotations by which a pod limits its traffic, quantities of bits a second.
const (
	ingressAnnotation = "kubernetes.io/ingress-bandwidth"
	egressAnnotation  = "kubernetes.io/egress-bandwidth"
)

// What Kubernetes takes for a rate.
const (
	minRate = 1_000
	maxRate = 1_000_000_000_000_000
)

func bandwidth(annotations map[string]string, spec *runtime.InstanceSpec) error {
	for _, one := range []struct {
		name string
		into *int64
	}{{ingressAnnotation, &spec.IngressBps}, {egressAnnotation, &spec.EgressBps}} {
		text := annotations[one.name]
		if text == "" {
			continue
		}
		rate, ok := quantity(text)
		if !ok || rate < minRate || rate > maxRate {
			return invalid(fmt.Sprintf("annotations[%q]", one.name), "%q is not a rate between 1k and 1P bits a second", text)
		}
		*one.into = rate
	}
	return nil
}

// quantity reads a whole number in the notation of Kubernetes: 5, 1.5M, 10Ki, 1e6.
func quantity(text string) (int64, bool) {
	number, factor := text, big.NewRat(1, 1)
	for _, unit := range []struct {
		suffixes []string
		step     int64
	}{{[]string{"k", "M", "G", "T", "P", "E"}, 1000}, {[]string{"Ki", "Mi", "Gi", "Ti", "Pi", "Ei"}, 1024}} {
		scale := big.NewRat(1, 1)
		for _, suffix := range unit.suffixes {
			scale.Mul(scale, big.NewRat(unit.step, 1))
			if before, found := strings.CutSuffix(text, suffix); found {
				number, factor = before, scale
				break
			}
		}
	}
	mantissa, exponent, scientific := strings.Cut(strings.ToLower(number), "e")
	if mantissa == "" || strings.Trim(mantissa, "0123456789.+") != "" {
		return 0, false
	}
	if scientific {
		// A large one would fill the memory.
		if n, err := strconv.Atoi(exponent); err != nil || n < -18 || n > 18 {
			return 0, false
		}
	}
	value, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, false
	}
	value.Mul(value, factor)
	if !value.IsInt() || !value.Num().IsInt64() {
		return 0, false
	}
	return value.Num().Int64(), true
}
