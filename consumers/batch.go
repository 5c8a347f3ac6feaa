package consumers

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"

	"mobileid/internal/mobileid"
)

// What a record may be, in bytes after decompression. A fetch bounds
// compressed bytes only, and a compressed batch of 22 kB may hold a value of
// 200 MB: whoever can write a topic could end every process that reads it.
const (
	// maxValue is twice what in.<client> topics admit as a whole batch, and
	// more than any event of this system has.
	maxValue = 128 << 10
	// maxDeadValue is for readers of dead-letter topics.
	maxDeadValue = deadLetterBytes
	// maxMeta bounds key and headers together.
	maxMeta    = 32 << 10
	maxHeaders = 128
	// fetchedBytes and fetchedRecords end the decoding of one fetch: what is
	// left is fetched again from there.
	fetchedBytes   = 4 << 20
	fetchedRecords = 20_000
	// zstdWindow is what RFC 8878 asks decoders to support.
	zstdWindow = 8 << 20
)

// The parts of a record batch of format 2 (Kafka protocol, "Record Batch").
const (
	batchHead       = 61
	batchCRCFrom    = 21
	attrCompression = 0x07
	attrAppendTime  = 0x08
	attrControl     = 0x20
)

// unreadable stands in Message.WriterData of a record that was stepped over:
// the message says where it is and what of its envelope could be kept.
type unreadable struct {
	code  string // oversize or batch_unreadable
	bytes int64  // of the value after decompression; 0 when unknown
}

func (u unreadable) err() error {
	kind, message := mobileid.KindTooLarge, "the record is too large to be read"
	if u.code != codeOversize {
		kind, message = mobileid.KindInvalid, "the record's batch cannot be read"
	}
	return &mobileid.Error{Kind: kind, Code: u.code, Message: message}
}

const (
	codeOversize   = "oversize"
	codeUnreadable = "batch_unreadable"
)

// decodeSet reads the batches of one fetch, from the given offset on. A record
// over the bounds, and a batch that is whole (its checksum holds) but cannot be
// decoded, become messages with unreadable, so that the reader comes on. The
// error is of bytes that were damaged on their way: fetching again helps.
//
// kafka-go's decoder is not used: it decompresses a batch as a whole, without
// bound, and takes the producer's clock for the time of records that the
// broker stamped.
func (out *fetched) decodeSet(set []byte, at kafka.Message, from int64, value int) error {
	size := 0
	for len(set) >= batchHead {
		length := 12 + int64(int32(binary.BigEndian.Uint32(set[8:])))
		if length < batchHead {
			return errors.New("fetch: a batch is shorter than its head")
		}
		if length > int64(len(set)) {
			return nil // cut by the broker's limit; the rest comes with the next fetch
		}
		b := set[:length]
		set = set[length:]
		if magic := b[16]; magic != 2 {
			return fmt.Errorf("fetch: record format %d is not supported", magic)
		}
		if crc32.Checksum(b[batchCRCFrom:], castagnoli) != binary.BigEndian.Uint32(b[17:]) {
			return errors.New("fetch: a batch fails its checksum")
		}
		h := readBatchHead(b)
		if h.last < from {
			continue // a batch is sent whole even when asked for from its middle
		}
		// The records of a control batch are markers of somebody's
		// transaction: stepped over, not handed out.
		if h.attributes&attrControl == 0 {
			full, err := out.decodeBatch(h, b[batchHead:], at, from, value, &size)
			if full {
				return nil
			}
			if err != nil && h.last >= out.next {
				at.Offset, at.HighWaterMark, at.Time = h.last, out.end, time.UnixMilli(h.maxTime)
				at.WriterData = unreadable{code: codeUnreadable}
				out.messages = append(out.messages, at)
				at.WriterData = nil
			}
		}
		out.next = max(out.next, h.last+1)
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type batchHeader struct {
	base, last         int64
	attributes         int16
	firstTime, maxTime int64 // Unix ms
	records            int32
}

func readBatchHead(b []byte) batchHeader {
	be := binary.BigEndian
	base := int64(be.Uint64(b))
	return batchHeader{
		base: base, last: base + int64(int32(be.Uint32(b[23:]))),
		attributes: int16(be.Uint16(b[21:])),
		firstTime:  int64(be.Uint64(b[27:])), maxTime: int64(be.Uint64(b[35:])),
		records: int32(be.Uint32(b[57:])),
	}
}

// decodeBatch appends the records of a batch. It reports full when it stopped
// because enough is decoded.
func (out *fetched) decodeBatch(h batchHeader, body []byte, at kafka.Message, from int64, value int, size *int) (full bool, err error) {
	stream, done, err := decompress(body, h.attributes)
	if err != nil {
		return false, err
	}
	defer done()
	r := &recordReader{in: bufio.NewReaderSize(stream, 16<<10), value: value}
	for range h.records {
		m, err := r.next(h)
		if err != nil {
			return false, err
		}
		if m.Offset < max(from, out.next) || m.Offset > h.last {
			continue
		}
		m.Topic, m.Partition, m.HighWaterMark = at.Topic, at.Partition, out.end
		out.messages = append(out.messages, m)
		out.next = m.Offset + 1
		*size += len(m.Key) + len(m.Value)
		for _, header := range m.Headers {
			*size += len(header.Key) + len(header.Value)
		}
		if *size >= fetchedBytes || len(out.messages) >= fetchedRecords {
			return true, nil
		}
	}
	return false, nil
}

// decompress returns a reader of a batch's records and what frees it.
func decompress(body []byte, attributes int16) (io.Reader, func(), error) {
	raw := &byteSource{body}
	switch c := compress.Compression(attributes & attrCompression); c {
	case compress.None:
		return raw, func() {}, nil
	case compress.Zstd:
		z, err := zstd.NewReader(raw, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	case compress.Gzip, compress.Snappy, compress.Lz4:
		z := c.Codec().NewReader(raw)
		return z, func() { _ = z.Close() }, nil
	}
	return nil, nil, fmt.Errorf("compression %d is not known", attributes&attrCompression)
}

// byteSource is a bytes.Reader without WriterTo and Seeker, which decoders
// take as an invitation to read everything at once.
type byteSource struct{ left []byte }

func (s *byteSource) Read(p []byte) (int, error) {
	if len(s.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.left)
	s.left = s.left[n:]
	return n, nil
}

// recordReader takes records off a decompressed stream, holding one at a time.
type recordReader struct {
	in    *bufio.Reader
	left  int64 // bytes of the record under way
	meta  int64 // bytes of key and headers that may still be kept
	value int   // bytes of a value that may be kept
}

var errRecord = errors.New("a record contradicts its length")

func (r *recordReader) next(h batchHeader) (m kafka.Message, err error) {
	length, err := binary.ReadVarint(r.in)
	if err != nil || length < 0 {
		return m, errors.Join(errRecord, err)
	}
	r.left, r.meta = length, maxMeta
	if _, err := r.ReadByte(); err != nil { // attributes, unused
		return m, err
	}
	timeDelta, err1 := binary.ReadVarint(r)
	offsetDelta, err2 := binary.ReadVarint(r)
	if err := errors.Join(err1, err2); err != nil {
		return m, err
	}
	m.Offset, m.Time = h.base+offsetDelta, time.UnixMilli(h.firstTime+timeDelta)
	if h.attributes&attrAppendTime != 0 {
		m.Time = time.UnixMilli(h.maxTime) // the broker stamps the batch, not each record
	}
	var key, bytes int64
	if m.Key, key, err = r.bytes(maxMeta); err != nil {
		return m, err
	}
	if key <= maxMeta {
		r.meta -= max(0, key)
	}
	if m.Value, bytes, err = r.bytes(int64(r.value)); err != nil {
		return m, err
	}
	var fits bool
	if m.Headers, fits, err = r.headers(); err != nil {
		return m, err
	}
	if !fits || key > maxMeta || bytes > int64(r.value) {
		m.Value = nil
		m.WriterData = unreadable{code: codeOversize, bytes: bytes}
	}
	return m, r.skip(r.left)
}

// headers reads the headers as far as they fit.
func (r *recordReader) headers() (list []kafka.Header, fits bool, err error) {
	n, err := binary.ReadVarint(r)
	if err != nil || n < 0 {
		return nil, false, errors.Join(errRecord, err)
	}
	if n > maxHeaders {
		return nil, false, nil
	}
	for range n {
		name, nameBytes, err := r.bytes(r.meta)
		if err != nil {
			return nil, false, err
		}
		value, valueBytes, err := r.bytes(r.meta - max(0, nameBytes))
		if err != nil {
			return nil, false, err
		}
		r.meta -= max(0, nameBytes) + max(0, valueBytes)
		if r.meta < 0 {
			return list, false, nil
		}
		list = append(list, kafka.Header{Key: string(name), Value: value})
	}
	return list, true, nil
}

// bytes reads a length and that many bytes, or steps over them when they are
// more than most. A length of -1 is null.
func (r *recordReader) bytes(most int64) (b []byte, n int64, err error) {
	if n, err = binary.ReadVarint(r); err != nil {
		return nil, 0, err
	}
	switch {
	case n < 0:
		return nil, n, nil
	case n > r.left:
		return nil, n, errRecord
	case n > most:
		return nil, n, r.skip(n)
	}
	b = make([]byte, n)
	if _, err := io.ReadFull(r.in, b); err != nil {
		return nil, n, err
	}
	r.left -= n
	return b, n, nil
}

// ReadByte makes varints of a record end where the record does.
func (r *recordReader) ReadByte() (byte, error) {
	if r.left <= 0 {
		return 0, errRecord
	}
	r.left--
	return r.in.ReadByte()
}

func (r *recordReader) skip(n int64) error {
	_, err := io.CopyN(io.Discard, onlyReader{r.in}, n)
	r.left -= n
	return err
}

// onlyReader keeps io.Copy from asking the decoder to write everything out.
type onlyReader struct{ io.Reader }
