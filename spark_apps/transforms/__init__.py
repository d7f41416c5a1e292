"""The transform library: pure logic, the same in stream, batch and tests."""
