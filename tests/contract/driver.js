// Calls methods of Nango's own client for the tests: a JSON object a line in, one a line out.
import { createInterface } from 'node:readline';
import { Nango } from '@nangohq/node';

const client = new Nango({
    host: process.env.PERDURE_HOST,
    secretKey: process.env.PERDURE_KEY,
    webhookSigningKey: process.env.PERDURE_SIGNING_KEY,
});

for await (const line of createInterface({ input: process.stdin })) {
    const { method, args } = JSON.parse(line);
    process.stdout.write(JSON.stringify(await answer(method, args)) + '\n');
}

async function answer(method, args) {
    try {
        const value = await client[method](...args);
        // The whole of an HTTP answer, where the client hands it out, goes in circles.
        const isHttp = value && typeof value === 'object' && 'config' in value && 'status' in value;
        return { value: isHttp ? { status: value.status, data: value.data, headers: value.headers } : value ?? null };
    } catch (error) {
        return { failure: { message: error.message, status: error.response?.status, data: error.response?.data } };
    }
}
