package program_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/siflet/siflet/runtime/program"
)

// fill sets every field to something other than its zero value.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.Struct:
		for _, field := range v.Fields() {
			fill(field, n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"net.ipv4.x": "1", "kernel.y": "\u2028\"\\<\n\x01é😀"}))
	case reflect.String:
		v.SetString("s\"\\/\t<é😀 " + string(rune('a'+*n%26)))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(-*n))
	default:
		v.SetUint(uint64(*n % 250))
	}
}

func TestDecodeReadsEveryField(t *testing.T) {
	var want program.Program
	n := 0
	fill(reflect.ValueOf(&want).Elem(), &n)
	data, err := json.MarshalIndent(want, " ", "\t")
	if err != nil {
		t.Fatal(err)
	}
	got, err := program.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, &want) {
		t.Errorf("Decode = %+v, want %+v", got, &want)
	}
}

func TestDecodeSkipsFieldsOfTheFuture(t *testing.T) {
	got, err := program.Decode([]byte(`{"new":{"a":[1,"x",null,true,{"b":-1.5e3}]},"version":1,"root":{"newer":[]},"mounts":null}`))
	if err != nil || got.Version != 1 {
		t.Errorf("Decode = %+v, %v", got, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"version":1,"process":{"args":["a\u00e9\ud83d\ude00"],"umask":18,"seccomp":"AAAA"}}`))
	f.Add([]byte(`{"mounts":[{"image":[{}]}],"sysctls":{"a":"b"}} x`))
	f.Add([]byte(`[[[[`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var want program.Program
		wantErr := json.Unmarshal(data, &want)
		got, err := program.Decode(data)
		if err == nil && wantErr == nil && got.Version != want.Version {
			t.Errorf("version %d, want %d", got.Version, want.Version)
		}
	})
}

func TestFailureEncodesAsJSON(t *testing.T) {
	want := program.Failure{Step: "exec \"a\\b\"", Reason: "tab\tand\x00é", Kind: "not_found"}
	var got program.Failure
	if err := json.Unmarshal(want.Encode(), &got); err != nil || got != want {
		t.Errorf("round trip = %+v, %v", got, err)
	}
}
