"""A shop on the OpenTelemetry SDK: events that are audit are sealed before the batch processor may drop them."""

import sys

from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, InMemoryLogRecordExporter

import otel_audit
from otel_audit.otel import AuditLogRecordProcessor

EVENTS = 200

trail = otel_audit.configure(journal=sys.argv[1], sinks=[])
exporter = InMemoryLogRecordExporter()  # in place of an OTLP exporter
batch = BatchLogRecordProcessor(exporter, max_queue_size=16, max_export_batch_size=16)
provider = LoggerProvider()
provider.add_log_record_processor(AuditLogRecordProcessor(next=batch))

logger = provider.get_logger("shop")
for number in range(EVENTS):
    logger.emit(
        event_name="invoice.delete",
        body=f"invoice {number} deleted",
        severity_number=SeverityNumber.INFO,
        attributes={"audit.action": "DELETE", "audit.actor.id": "alice", "audit.target.id": str(number)},
    )
    logger.emit(body="cache warmed", severity_number=SeverityNumber.DEBUG)  # no audit event
provider.shutdown()

exported = [record.log_record for record in exporter.get_finished_logs()]
tagged = [record for record in exported if "audit.record.id" in (record.attributes or {})]
numbers = [record.attributes["audit.sequence.number"] for record in tagged]
print(f"{EVENTS} audit events; the SDK's short queue let {len(tagged)} of them through, each tagged with its place")
assert numbers == sorted(numbers)
assert trail.stream.records == EVENTS + 1  # and the record that opens the stream
